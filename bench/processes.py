"""
The processes of a measurement, and what all of them have in common.

Owns: finding programs and ports, waiting with an end, Postfix's `smtp-sink` and `smtp-source`, the end of a process.
Never: uses a port but on the loopback interface.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


class UnavailableError(Exception):
    """What a measurement needs is not there, did not start or took too long: the column stays empty, with this text."""


def program(name: str, package: str = "postfix") -> str:
    """The path of a program of a Debian package. Raises `UnavailableError`."""
    found = shutil.which(name, path=_SBIN)
    if found is None:
        raise UnavailableError(f"{name} is not installed (Debian: apt-get install {package})")
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """A port of a loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], seconds: float, what: str, every: float = 0.005) -> None:
    """Look again and again, every 5 ms, until `condition` holds. Raises `UnavailableError` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise UnavailableError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(every)


def answers(port: int) -> bool:
    """Whether somebody greets at the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as peer:
            return bool(peer.recv(1))
    except OSError:
        return False


@contextlib.contextmanager
def ending(process: subprocess.Popen[bytes], grace: float, wrapped: bool = False) -> Iterator[None]:
    """
    End `process` in any case: by SIGTERM, and by SIGKILL when that has not worked after `grace` seconds.

    `wrapped`: it is strace or a profiler, and what it runs has to end first, for it would go and leave that behind.
    """
    try:
        yield
    finally:
        if process.poll() is None:
            below = children(process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(below[0] if wrapped and below else process.pid, signal.SIGTERM)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            for pid in family(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def children(pid: int) -> list[int]:
    """The processes that it has started and that are there."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def family(root: int) -> list[int]:
    """The process and all that descend from it now."""
    found = [root]
    for pid in found:
        found += children(pid)
    return found


class Sink:
    """Takes all mail and counts it; `smtp-sink` in one process. `options` are further ones of it."""

    def __init__(self, port: int, top: Path, options: Sequence[str] = ()) -> None:
        self._output = top / f"sink-{port}.out"
        self._file = self._output.open("wb")
        # -c prints counters after each message, as "sess=1 quit=0 mesg=1" and CR. Root must name another user.
        user = ["-u", "postfix"] if os.geteuid() == 0 else []
        command = [program("smtp-sink"), "-c", *user, *options, f"127.0.0.1:{port}", "1000"]
        self._process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.STDOUT, start_new_session=True)

    def count(self) -> int:
        """The messages so far. Raises `UnavailableError` where smtp-sink has ended: nothing more would be counted."""
        if self._process.poll() is not None:
            raise UnavailableError(f"smtp-sink ended in the middle, with {self._process.returncode}")
        with self._output.open("rb") as output:
            output.seek(max(output.seek(0, os.SEEK_END) - 256, 0))
            counted = re.findall(rb"mesg=(\d+) *\r", output.read())
        return int(counted[-1]) if counted else 0

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._file.close()


@contextlib.contextmanager
def sink(top: Path, options: Sequence[str] = ()) -> Iterator[tuple[Sink, int]]:
    """A running sink and its port."""
    port = free_port()
    running = Sink(port, top, options)
    try:
        wait_for(lambda: answers(port), 10, "smtp-sink's start")
        yield running, port
    finally:
        running.stop()


def send(
    port: int,
    messages: int,
    *,
    size: int = 4096,
    sessions: int = 20,
    reuse: bool = False,
    recipient: str = "recipient@sink.test",
    timeout: float = 120.0,
) -> None:
    """Send so many messages with `smtp-source` and wait for its end. `reuse`: over as few connections as it can."""
    command = [program("smtp-source"), "-s", str(sessions), "-m", str(messages), "-l", str(size)]
    command += [*(["-d"] if reuse else []), "-f", "sender@bench.test", "-t", recipient, f"127.0.0.1:{port}"]
    try:
        subprocess.run(command, check=True, timeout=timeout, capture_output=True)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"sending {messages} messages took longer than {timeout:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"smtp-source: {error.stderr.decode(errors='replace').strip()[-200:]}") from None


def relay(port: int, counter: Sink, messages: int, *, timeout: float = 120.0, **how: object) -> float:
    """Messages a second through the MTA at `port`, until the sink has counted them all; `how` as `send` takes it."""
    before = counter.count()
    began = time.monotonic()
    send(port, messages, timeout=timeout, **how)  # type: ignore[arg-type]
    wait_for(lambda: counter.count() - before >= messages, timeout, f"the delivery of {messages} messages")
    return messages / (time.monotonic() - began)

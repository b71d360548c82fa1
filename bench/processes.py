"""
The processes of a measurement: our daemon, a Postfix of its own, and Postfix's test programs.

Owns: their configurations, that all state is in a temporary folder, that all of them end with the measurement.
Never: uses a port but on 127.0.0.1, or the machine's own Postfix.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_CONFIG = """\
hostname = "bench.test"
state_dir = "{state}"

[[listener]]
name = "bench"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "mx"

[relay]
networks = ["{trusted}"]

[limits]
{limits}

[[route]]
recipients = ["*"]
next_hop = "{next_hop}"

[log]
file = "mail.log"
"""
_MAIN = """\
compatibility_level = 3.6
queue_directory = {top}/queue
data_directory = {top}/data
maillog_file = {top}/postfix.log
maillog_file_prefixes = {top}
myhostname = bench.test
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink}
smtp_tls_security_level = none
smtpd_tls_security_level = none
alias_maps =
alias_database =
local_recipient_maps =
smtpd_recipient_restrictions = permit_mynetworks, reject
"""


class UnavailableError(Exception):
    """A program of the measurement is not installed, or did not start."""


def program(name: str) -> str:
    """The path of a program. Raises `UnavailableError`."""
    found = shutil.which(name, path=_SBIN)
    if found is None:
        raise UnavailableError(f"{name} is not installed (Debian: apt-get install postfix)")
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Look again and again, every 5 ms, until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise UnavailableError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(0.005)


def answers(port: int) -> bool:
    """Whether somebody greets at the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as peer:
            return bool(peer.recv(1))
    except OSError:
        return False


class Sink:
    """Takes all mail and counts it; `smtp-sink` in one process."""

    def __init__(self, port: int, top: Path) -> None:
        self._output = top / f"sink-{port}.out"
        self._file = self._output.open("wb")
        # -c prints counters after each message, as "sess=1 quit=0 mesg=1" and CR. Root must name another user.
        user = ["-u", "postfix"] if os.geteuid() == 0 else []
        command = [program("smtp-sink"), "-c", *user, f"127.0.0.1:{port}", "1000"]
        self._process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.STDOUT)

    def count(self) -> int:
        """The messages so far."""
        with self._output.open("rb") as output:
            output.seek(max(output.seek(0, os.SEEK_END) - 256, 0))
            counted = re.findall(rb"mesg=(\d+) *\r", output.read())
        return int(counted[-1]) if counted else 0

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._file.close()


@contextlib.contextmanager
def sink(top: Path) -> Iterator[tuple[Sink, int]]:
    """A running sink and its port."""
    port = free_port()
    running = Sink(port, top)
    try:
        wait_for(lambda: answers(port), 10, "smtp-sink's start")
        yield running, port
    finally:
        running.stop()


@contextlib.contextmanager
def our_daemon(
    top: Path, next_hop: str, *, limits: str = 'message_size = "100MiB"', trusted: str = "127.0.0.0/8"
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """
    Our daemon, relaying everything to `next_hop`, and its port; state and output are in `top`.

    `limits` are lines of the table of that name, `trusted` is the network that may relay.
    """
    port = free_port()
    config = top / "mta.toml"
    config.write_text(_CONFIG.format(state=top / "state", port=port, next_hop=next_hop, limits=limits, trusted=trusted))
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
    command += ["--logfile", str(top / "twistd.log"), "mta", "--config", str(config)]
    with (top / "daemon.out").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: answers(port) or process.poll() is not None, 20, "our start")
        if process.poll() is not None:
            raise UnavailableError(f"our daemon did not start: {(top / 'daemon.out').read_text()}")
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def postfix(top: Path, sink_port: int) -> Iterator[int]:
    """A Postfix of its own with all its files in `top`, relaying to the sink, and its port."""
    if os.geteuid() != 0:
        raise UnavailableError("Postfix starts as root alone")
    command, configuration, port = program("postfix"), top / "etc", free_port()
    for folder in (top, configuration, top / "queue", top / "data"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    shutil.chown(top / "data", "postfix")
    (configuration / "main.cf").write_text(_MAIN.format(top=top, sink=sink_port))
    master = Path("/usr/share/postfix/master.cf.dist").read_text()
    # Without chroot, as on most systems; all services as shipped, but for the port of smtpd.
    lines = [line for line in master.splitlines() if line and not line.startswith("#")]
    service = f"127.0.0.1:{port}"
    rewritten = [service + line[4:] if line.startswith("smtp  ") and " inet " in line else line for line in lines]
    (configuration / "master.cf").write_text("\n".join(rewritten).replace(" y ", " n ") + "\n")
    subprocess.run([command, "-c", configuration, "start"], check=True, capture_output=True)
    try:
        wait_for(lambda: answers(port), 20, "Postfix's start")
        yield port
    finally:
        subprocess.run([command, "-c", configuration, "stop"], check=False, capture_output=True)

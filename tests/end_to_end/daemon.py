"""
The real daemon in a process of its own, and real peers, for the end-to-end tests.

Owns: temporary configurations, ports of 127.0.0.1, starting and stopping, waiting for what is expected.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.trial.unittest import SkipTest, TestCase

ROOT = Path(__file__).parent.parent.parent
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
MTA = [sys.executable, "-c", "from mta.cli.main import main; main()"]
# Debian puts Postfix's programs where only root looks.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
# Generous, for a busy machine: a test that passes waits only as long as it has to.
PATIENCE = 30.0

T = TypeVar("T")

_CONFIG = """\
hostname = "mx.test"
state_dir = "{state}"
workers = {workers}
shutdown_grace = "5s"

[[listener]]
name = "relay"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "mx"

[relay]
networks = ["127.0.0.0/8"]

[local]
domains = ["local.test"]
users = ["alice", "bob"]

[queue]
retry = ["1s"]
jitter = 0.0
dead_initial = "1s"
dead_maximum = "1s"
"""


def free_port() -> int:
    """
    A port of 127.0.0.1 that nobody listens on.

    Below those that the kernel gives to clients: who asks again and again whether a server is there yet would once be
    given the very port it asks, and be connected to itself.
    """
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def tool(name: str) -> str:
    """The path of a Debian tool; the test is skipped where it is missing."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise SkipTest(f"{name} is not installed (apt-get install swaks postfix)")
    return found


def eventually(look: Callable[[], T], what: str) -> T:
    """What `look` gives, as soon as that is true."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {PATIENCE:.0f} s")
        time.sleep(0.02)
    return found


def gone(pid: int) -> bool:
    """Whether a process runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def greeted(port: int) -> bool:
    """Whether an SMTP server answers at the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as peer:
            return peer.recv(3) == b"220"
    except OSError:
        return False


class Daemon:
    """One daemon of a test; `start` after `kill` is a restart on the same state."""

    def __init__(self, top: Path, more: str = "", workers: int = 1) -> None:
        self.top = top
        self.port = free_port()
        self.state = top / "state"
        self.config = top / "mta.toml"
        self.config.write_text(_CONFIG.format(state=self.state, port=self.port, workers=workers) + more)
        self.process: subprocess.Popen[str] | None = None
        self.output = top / "output"

    def spawn(self) -> subprocess.Popen[str]:
        """Start it, and do not wait."""
        with self.output.open("a") as output:
            self.process = subprocess.Popen(
                [*TWISTD, "mta", "--config", str(self.config)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return self.process

    def start(self) -> None:
        """Start it; it answers when this returns."""
        process = self.spawn()
        eventually(lambda: greeted(self.port) or process.poll() is not None, "the daemon's start")
        if process.poll() is not None:
            raise AssertionError(f"the daemon did not start: {self.output.read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the daemon did not stop: {self.output.read_text()}") from None

    def workers(self) -> list[int]:
        """The processes of its workers."""
        assert self.process is not None
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in children.split()]

    def status(self) -> dict[str, Any]:
        """What the status command of the control socket says."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(PATIENCE)
            control.connect(str(self.state / "control"))
            control.sendall(b'{"command": "status"}\n')
            answer: dict[str, Any] = json.loads(control.makefile("rb").readline())
            return answer

    def mta(self, *arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the `mta` command with this configuration."""
        environment = {**os.environ, "MTA_CONFIG": str(self.config)}
        return subprocess.run(
            [*MTA, *arguments], cwd=ROOT, env=environment, input=content, capture_output=True, check=False
        )

    def mta_started(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the `mta` command, and do not wait; nobody hears what it says."""
        environment = {**os.environ, "MTA_CONFIG": str(self.config)}
        nobody = subprocess.DEVNULL
        return subprocess.Popen([*MTA, *arguments], cwd=ROOT, env=environment, stdout=nobody, stderr=nobody)

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """The rows of a reading command."""
        ran = self.mta(*arguments, "--json")
        if ran.returncode:
            raise AssertionError(ran.stderr.decode())
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def queued(self) -> list[dict[str, Any]]:
        return self.rows("queue", "list")

    def kinds(self, identity: str) -> list[str]:
        """The kinds of a message's events."""
        return [row["kind"] for row in self.rows("trace", identity)]

    def mailbox(self, user: str) -> list[str]:
        """The messages in a user's Maildir."""
        return [path.read_text() for path in sorted((self.state / "mail" / user / "Maildir" / "new").glob("*"))]

    def submit(self, sender: str, *recipients: str, text: str = "Subject: hi\r\n\r\nhello\r\n") -> str:
        """Send a message with smtplib; its queue id."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE) as client:
            client.ehlo("client.test")
            client.mail(sender)
            for recipient in recipients:
                client.rcpt(recipient)
            code, reply = client.data(text)
        found = re.search(rb"queued as (\w+)", reply)
        if code != 250 or not found:
            raise AssertionError(f"{code} {reply!r}")
        return found[1].decode()


class Sink:
    """Postfix's smtp-sink: takes mail, or answers as its options say."""

    def __init__(self, top: Path, port: int, *options: str) -> None:
        self.folder = top / f"sink-{port}"
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o777)
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [tool("smtp-sink"), *user, *options, "-d", "%M.", f"127.0.0.1:{port}", "100"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: greeted(port), "smtp-sink's start")

    def messages(self) -> list[str]:
        """What was taken: a header of smtp-sink's own with the envelope, then the content."""
        return [path.read_text() for path in sorted(self.folder.iterdir()) if path.stat().st_size]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class EndToEndCase(TestCase):
    """A test with a folder of its own; what it starts is stopped."""

    def setUp(self) -> None:
        # Not trial's folder: a UNIX socket's path must be short, and smtp-sink runs as another user.
        self.top = Path(tempfile.mkdtemp(prefix="mta-"))
        self.top.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.top, True)

    def daemon(self, more: str = "", workers: int = 1) -> Daemon:
        """A running daemon."""
        daemon = Daemon(self.top, more, workers)
        self.addCleanup(daemon.stop, signal.SIGKILL)
        daemon.start()
        return daemon

    def sink(self, port: int, *options: str) -> Sink:
        """A running sink."""
        sink = Sink(self.top, port, *options)
        self.addCleanup(sink.stop)
        return sink


def route(recipients: str, port: int) -> str:
    """A route to a port of 127.0.0.1, for the configuration."""
    return f'\n[[route]]\nrecipients = ["{recipients}"]\nnext_hop = "smtp://127.0.0.1:{port}"\n'

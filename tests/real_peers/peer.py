"""
Another mail system in a process and a folder of its own.

Owns: starting it in the foreground, waiting until it greets, stopping it and all its children.
Never: uses a port but of 127.0.0.1, the machine's own configuration, or the machine's own mail system.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.end_to_end.daemon import PATH, eventually, free_port, greeted

# Where .ci/packages.sh unpacks Exim, whose package conflicts with Postfix's.
UNPACKED = "/usr/local/lib/exim4-daemon-light/usr/sbin"
_LOG = 4000


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where its Debian package is missing."""
    found = shutil.which(name, path=f"{PATH}:/usr/lib/postfix/sbin:{UNPACKED}")
    if found is None:
        raise SkipTest(f"{name} is not installed (Debian: {package}, see .ci/packages.sh)")
    return found


def messages(maildir: Path) -> list[bytes]:
    """The messages in a Maildir, with LF line ends, as they lie there."""
    return [path.read_bytes() for path in sorted(maildir.glob("new/*"))]


class Peer:
    """One running mail system. Subclasses write the configuration and say the command."""

    name = ""  # its domain is NAME.test, and all of that domain's mail goes to `inbox`

    def __init__(self, top: Path) -> None:
        if os.geteuid() != 0:
            raise SkipTest(f"{self.name} starts as root alone")
        self.top = top / self.name
        self.top.mkdir(mode=0o755)
        self.port = free_port()
        self.inbox = self.top / "mail" / "inbox"
        self._output = self.top / "output"
        command = self.configured()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            eventually(lambda: greeted(self.port) or self._process.poll() is not None, f"the start of {self.name}")
            if self._process.poll() is not None:
                raise AssertionError(f"{self.name} did not start: {self.told()}")
        except BaseException:
            self.stop()
            raise

    def configured(self) -> list[str]:
        """Write the configuration; the command that starts it in the foreground."""
        raise NotImplementedError

    def received(self) -> list[bytes]:
        """What its own domain's users got."""
        return messages(self.inbox)

    def told(self) -> str:
        """The ends of its logs, for the message of a test that fails."""
        logs = [self._output, *sorted(self.top.glob("*log*"))]
        return "\n".join(log.read_text(errors="replace")[-_LOG:] for log in logs if log.is_file())

    def stop(self) -> None:
        """End it and its children, at once: nobody needs its queue any more."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

"""A PostgreSQL of its own, with a database "mail" and a password, over TCP on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.end_to_end.daemon import eventually, free_port

PASSWORD = "open sesame"


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise SkipTest("initdb is not installed (Debian: postgresql, see .ci/packages.sh)")
    return found[-1].parent


class Postgresql:
    """Listens on `port`. It refuses to run as root, so as root it runs as the package's user."""

    def __init__(self, top: Path) -> None:
        self._bin = _programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._top = top / "postgresql"
        self._top.mkdir(mode=0o700)
        if self._user:
            for folder in (top, top.parent):
                folder.chmod(folder.stat().st_mode | 0o011)
            shutil.chown(self._top, self._user)
        secret = self._top / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = str(self._top / "data")
        words = ["-D", data, "-U", "mail", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "scram-sha-256"]
        self._run("initdb", *words, f"--pwfile={secret}")
        self.port = free_port()
        self._command = [
            *(str(self._bin / "postgres"), "-D", data, "-p", str(self.port), "-h", "127.0.0.1"),
            *("-k", str(self._top), "-c", "fsync=off", "-c", "shared_buffers=1MB"),
        ]
        self.start()

    @property
    def url(self) -> str:
        """The connection, with the password."""
        return f"postgresql://mail:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, on the same data."""
        with (self._top.parent / "postgresql.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, user=self._user, cwd="/"
            )
        eventually(self._is_ready, "the start of PostgreSQL")

    def stop(self) -> None:
        """End it at once."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def _is_ready(self) -> bool:
        command = [str(self._bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *words], user=self._user, cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"{program}: {done.stderr}")

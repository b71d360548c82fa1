"""The real daemon on a disk that is full, read-only, damaged, or taken away."""

from __future__ import annotations

import os
import signal
import smtplib
import subprocess
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SkipTest

from mta.spool import schema
from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, free_port, route

_SMALL = '\n[limits]\nmessage_size = "1MiB"\n'


class DiskCase(EndToEndCase):
    def disk(self, megabytes: int) -> Path:
        """A file system of its own in memory; the test is skipped where it can't be mounted."""
        place = self.top / "disk"
        place.mkdir()
        if os.geteuid() != 0:
            raise SkipTest("only root may mount a file system")
        ran = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place], check=False)
        if ran.returncode:
            raise SkipTest("no file system can be mounted here")
        self.addCleanup(lambda: subprocess.run(["umount", "--lazy", place], check=False))
        return place

    def on(self, state: Path, more: str) -> Daemon:
        """A daemon whose state is there, not started."""
        daemon = Daemon(self.top, more)
        daemon.config.write_text(daemon.config.read_text().replace(str(daemon.state), str(state)))
        daemon.state = state
        self.addCleanup(daemon.stop, signal.SIGKILL)
        return daemon

    def fill(self, place: Path) -> Path:
        """Take all the room there is."""
        file = place / "fill"
        with file.open("ab", buffering=0) as filling:
            for size in (1 << 20, 4096, 1):
                while True:
                    try:
                        filling.write(bytes(size))
                    except OSError:
                        break
        return file

    def refused(self, daemon: Daemon, code: int) -> str:
        process = daemon.spawn()
        self.assertEqual(code, process.wait(PATIENCE), daemon.output.read_text())
        daemon.process = None
        (line,) = [line for line in daemon.output.read_text().splitlines() if line.startswith("mta: ")]
        return line


def mail_is_taken(daemon: Daemon) -> bool:
    """Whether MAIL gets 250; else it has to be the reply for the lack of room."""
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
        client.ehlo("client.test")
        code, said = client.mail("carol@example.org")
    if code not in (250, 452):
        raise AssertionError(f"{code} {said!r}")
    return code == 250


class FullDiskTests(DiskCase):
    def test_running(self) -> None:
        """The disk fills up under the daemon: new mail gets 452, and the queue is delivered with the ballast's room."""
        place, port = self.disk(64), free_port()
        daemon = self.on(place / "state", _SMALL + route("*@sink.test", port))
        daemon.start()
        for number in range(20):
            daemon.submit("carol@example.org", f"user{number}@sink.test")
        self.fill(place)
        eventually(lambda: not mail_is_taken(daemon), "452 to new mail")
        sink = self.sink(port)
        eventually(lambda: not daemon.queued(), "an empty queue")
        self.assertEqual(20, len(sink.messages()))
        self.assertIn("room of the ballast", daemon.output.read_text())

    def test_restart(self) -> None:
        """With no octet free new mail gets 452, a restart works, and the queue is delivered; then all is as before."""
        place, port = self.disk(64), free_port()
        daemon = self.on(place / "state", _SMALL + route("*@sink.test", port))
        daemon.start()
        for number in range(20):
            daemon.submit("carol@example.org", f"user{number}@sink.test", text="Subject: x\r\n\r\n" + "yes\r\n" * 5000)
        daemon.stop(signal.SIGKILL)
        fill = self.fill(place)
        self.assertEqual(0, os.statvfs(place).f_bavail)
        daemon.start()
        self.assertFalse(mail_is_taken(daemon))
        self.assertEqual(20, len(daemon.queued()))
        sink = self.sink(port)
        eventually(lambda: not daemon.queued(), "an empty queue")
        self.assertEqual(20, len(sink.messages()))
        self.assertFalse(mail_is_taken(daemon))
        fill.unlink()
        eventually(lambda: mail_is_taken(daemon), "250 to new mail")
        self.assertTrue((place / "state" / "ballast").exists())


class ReadOnlyDiskTests(DiskCase):
    def test_start(self) -> None:
        """A state directory on a read-only disk is refused with the reason (EX_CANTCREAT)."""
        place = self.disk(8)
        (place / "state").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        self.assertIn("Read-only file system", self.refused(self.on(place / "state", ""), os.EX_CANTCREAT))


class DamagedSpoolTests(DiskCase):
    def test_start(self) -> None:
        """A damaged spool is refused with what was found and where help is (EX_DATAERR), and stays as it is."""
        daemon = self.daemon(route("*@sink.test", free_port()))
        daemon.submit("carol@example.org", "dave@sink.test")
        daemon.stop()
        path = daemon.state / schema.FILE_NAME
        with closing(schema.connect(path, read_only=True)) as database:
            (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'recipients'").fetchone()
        with path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xa5" * 4096)
        before = path.read_bytes()
        daemon.output.unlink()
        line = self.refused(daemon, os.EX_DATAERR)
        for word in (str(path), "damaged", "docs/operating.md"):
            self.assertIn(word, line)
        self.assertEqual(before, path.read_bytes())


class DeletedSpoolTests(DiskCase):
    def test_running(self) -> None:
        """A message that is under way when the spool file is deleted is not acknowledged; afterwards none is begun."""
        daemon = self.daemon(route("*@sink.test", free_port()))
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
            client.ehlo("client.test")
            client.mail("carol@example.org")
            client.rcpt("dave@sink.test")
            (daemon.state / schema.FILE_NAME).unlink()
            code, _said = client.data("Subject: x\r\n\r\nhello\r\n")
            self.assertEqual(451, code)
        self.assertFalse(mail_is_taken(daemon))
        self.assertIn("is gone while it was in use", daemon.output.read_text())

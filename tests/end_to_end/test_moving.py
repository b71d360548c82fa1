"""A queue that moves from one daemon to another."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from pathlib import Path
from typing import Any

from tests.end_to_end.daemon import Daemon, EndToEndCase, eventually, free_port, route

LARGE = "Subject: large\r\n\r\n" + ("0123456789abcdef" * 4 + "\r\n") * 10_000


class MovingTests(EndToEndCase):
    def started(self, name: str, more: str, workers: int = 1) -> Daemon:
        folder = self.top / name
        folder.mkdir()
        daemon = Daemon(folder, more, workers=workers)
        daemon.config.write_text(daemon.config.read_text().replace('retry = ["1s"]', 'retry = ["1h"]'))
        self.addCleanup(daemon.stop, signal.SIGKILL)
        daemon.start()
        return daemon

    def facts(self, daemon: Daemon) -> list[tuple[Any, ...]]:
        """What moves with the mail."""
        names = ("sender", "recipient", "size", "arrived", "attempts", "state", "last_reply", "code", "due")
        return sorted(tuple(row[name] for name in names) for row in daemon.queued())

    def test_moves_whole(self) -> None:
        """Envelope, content, age, attempts and state come to the other queue, once, and leave this one."""
        port = free_port()
        here = self.started("here", route("*@sink.test", port), workers=2)
        for number in range(5):
            here.submit("carol@example.org", f"a{number}@sink.test", f"b{number}@sink.test")
        here.submit("dave@example.org", "large@sink.test", text=LARGE)
        here.submit("", "null@sink.test")
        eventually(lambda: {row["attempts"] for row in here.queued()} == {1}, "a first attempt of each")
        here.mta("queue", "hold", "--recipient", "a1@sink.test")
        before = self.facts(here)
        archive = self.top / "queue.mta"
        ran = here.mta("queue", "export", str(archive), "--all", "--remove")
        self.assertEqual(0, ran.returncode, ran.stderr)
        self.assertEqual([], here.queued())
        there = self.started("there", route("*@sink.test", port), workers=2)
        ran = there.mta("queue", "import", str(archive))
        self.assertEqual(0, ran.returncode, ran.stderr)
        self.assertEqual(before, self.facts(there))
        self.assertTrue({row["id"] for row in there.queued()})
        again = there.mta("queue", "import", str(archive))
        self.assertEqual((65, 7), (again.returncode, again.stderr.count(b"imported before") - 1), again.stderr)
        self.assertEqual(before, self.facts(there))
        self.assertIn("imported", there.kinds(there.queued()[0]["id"]))
        sink = self.sink(port)
        self.assertEqual(0, there.mta("queue", "retry", "--state", "queued").returncode)
        eventually(lambda: len(sink.messages()) >= 7 and len(there.queued()) == 1, "all but the held one at the sink")
        self.assertTrue(any(LARGE.replace("\r\n", "\n") in text.replace("\r\n", "\n") for text in sink.messages()))
        self.assertEqual(["held"], [row["state"] for row in there.queued()])

    def test_copy_of_a_stopped_daemon(self) -> None:
        """Without --remove the file is a copy, which a stopped daemon's spool gives as well; the filters hold."""
        daemon = self.started("here", route("*@sink.test", free_port()))
        daemon.submit("carol@example.org", "a@sink.test")
        daemon.submit("dave@example.org", "b@sink.test", text=LARGE)
        daemon.stop()
        before = self.facts(daemon)
        first, second = self.top / "first", self.top / "second"
        ran = daemon.mta("queue", "export", str(first), "--larger", "100K")
        self.assertEqual(0, ran.returncode, ran.stderr)
        self.assertIn(b"1 messages with 1 recipients", ran.stdout)
        self.assertEqual(73, daemon.mta("queue", "export", str(first), "--all").returncode)
        self.assertEqual(69, daemon.mta("queue", "export", str(second), "--all", "--remove").returncode)
        self.assertFalse(second.exists())
        self.assertEqual(before, self.facts(daemon))
        self.assertEqual(69, daemon.mta("queue", "import", str(first)).returncode)

    def test_torn_and_cut_off(self) -> None:
        """A torn archive brings nothing in. What was cut off by SIGKILL is given again, and nothing comes twice."""
        port = free_port()
        here = self.started("here", route("*@sink.test", port))
        for number in range(40):
            here.submit("carol@example.org", f"user{number}@sink.test", text=LARGE)
        self.assertEqual(0, here.mta("queue", "hold", "--all").returncode)
        eventually(lambda: here.status()["active"] == 0, "the end of all attempts")
        before = self.facts(here)
        archive = self.top / "queue.mta"
        self.assertEqual(0, here.mta("queue", "export", str(archive), "--all", "--remove").returncode)
        there = self.started("there", route("*@sink.test", port))
        whole = archive.read_bytes()
        torn = Path(f"{archive}.torn")
        for end in (len(whole) - 1, len(whole) // 2, 10):
            torn.write_bytes(whole[:end])
            ran = there.mta("queue", "import", str(torn))
            self.assertEqual(65, ran.returncode, ran.stderr)
            self.assertIn(b"nothing was imported", ran.stderr)
        self.assertEqual([], there.queued())
        process = there.mta_started("queue", "import", str(archive))
        with contextlib.closing(sqlite3.connect(there.state / "spool.sqlite")) as database:
            eventually(lambda: database.execute("SELECT 1 FROM imported").fetchone(), "the first is there")
        there.stop(signal.SIGKILL)
        process.wait()
        there.start()
        # On a machine that is fast enough all of it was there before the kill.
        self.assertIn(there.mta("queue", "import", str(archive)).returncode, (0, 65))
        self.assertEqual(before, self.facts(there))

"""Damage below the spool: pages that hold garbage, files that are gone. Nothing is guessed, nothing more is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.entry import Entry, Report, Result, State
from mta.interfaces import ISpool
from mta.spool import SpoolDamageError, SpoolError, schema, soundness
from mta.spool.spool import open_spool
from tests.contracts.spools import ORIGIN, envelope
from tests.spool.test_contract import ThreadCalls

ROOT = Path(__file__).parent.parent.parent


class DamageCase(SynchronousTestCase):
    """A spool file with 300 messages of 5,000 octets."""

    def setUp(self) -> None:
        self.calls = ThreadCalls()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / schema.FILE_NAME
        spool = self.open()
        for committed in [self.begin(spool, message) for message in range(1, 301)]:
            self.wait(committed)
        self.wait(spool.close())

    def open(self) -> Any:
        return open_spool(self.directory, self.calls, pid=1, now=0.0)

    def running(self) -> Any:
        spool = self.open()
        self.addCleanup(lambda: self.wait(spool.close()))
        return spool

    def wait(self, waiting: Deferred[Any]) -> Any:
        return self.calls.wait(waiting)

    def begin(self, spool: ISpool, message: int) -> Deferred[Entry]:
        receiving = spool.receive(message)
        receiving.write(b"Subject: x\r\n\r\n" + os.urandom(2500).hex().encode() + b"\r\n")
        return receiving.commit(envelope(), ORIGIN, 100.0, False)

    def store(self, spool: ISpool, message: int) -> None:
        self.wait(self.begin(spool, message))

    def ask(self, statement: str) -> Any:
        with closing(schema.connect(self.path, read_only=True)) as database:
            return database.execute(statement).fetchone()[0]

    def spoil(self, page: int) -> None:
        """Write garbage over a page (from 1)."""
        size = self.ask("PRAGMA page_size")
        with self.path.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xa5" * size)

    def root(self, name: str) -> int:
        return int(self.ask(f"SELECT rootpage FROM sqlite_schema WHERE name = '{name}'"))


class StartTests(DamageCase):
    def refused(self) -> str:
        before = self.path.read_bytes()
        error = self.assertRaises(SpoolError, soundness.examine, self.path)
        self.assertEqual(before, self.path.read_bytes())
        self.assertIn(str(self.path), str(error))
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_sound_file(self) -> None:
        """A sound file passes; so does one that is missing or empty, which is for the next step to make."""
        soundness.examine(self.path)
        soundness.examine(self.directory / "none")
        (self.directory / "empty").touch()
        soundness.examine(self.directory / "empty")

    def test_damaged_table(self) -> None:
        """Garbage on a page of what is queued, and for whom, is refused before anything is written."""
        for name in ("messages", "recipients"):
            with self.subTest(name):
                whole = self.path.read_bytes()
                self.spoil(self.root(name))
                self.assertIn("damaged", self.refused())
                self.path.write_bytes(whole)

    def test_damaged_index(self) -> None:
        """An index of the queue that can't be read is refused too: what it hides would never be due."""
        self.spoil(self.root("messages_due"))
        self.refused()

    def test_repair(self) -> None:
        """What docs/operating.md tells an operator to type brings all behind a damaged index into a sound spool."""
        self.spoil(self.root("messages_due"))
        elsewhere = self.directory / "elsewhere.sqlite"
        self.path.rename(elsewhere)
        self.wait(self.open().close())
        recipe = (ROOT / "docs" / "operating.md").read_text().split('spool.sqlite "ATTACH', 1)[1].split('COMMIT"')[0]
        with closing(schema.connect(self.path)) as database:
            database.executescript(f"ATTACH{recipe.replace('/elsewhere/spool.sqlite', str(elsewhere))}COMMIT")
        soundness.examine(self.path)
        self.assertEqual(300, self.ask("SELECT count(*) FROM messages"))
        self.assertEqual(["ok"], [self.ask("PRAGMA integrity_check")])

    def test_damaged_header(self) -> None:
        """A file that does not begin as a database is no spool, and stays as it is."""
        with self.path.open("r+b") as file:
            file.write(b"\xa5" * 32)
        before = self.path.read_bytes()
        self.assertRaises(SpoolError, soundness.examine, self.path)
        self.assertRaises(SpoolError, self.open)
        self.assertEqual(before, self.path.read_bytes())

    def test_cut_off(self) -> None:
        """A file that was cut short is refused."""
        os.truncate(self.path, self.path.stat().st_size // 8)
        self.refused()


class SetBackTests(DamageCase):
    def test_due_in_a_day(self) -> None:
        """What a clock that was a day ahead has put off is due after the longest wait, counted from a start."""
        spool = self.open()
        (entry,) = self.wait(spool.claim(1000.0, 1))
        results = tuple(Result(recipient.address, State.QUEUED, 87_000.0, "later") for recipient in entry.recipients)
        self.wait(spool.record(Report(entry.message, results, (), False)))
        self.wait(spool.close())
        spool = open_spool(self.directory, self.calls, pid=1, now=1000.0, longest_wait=600.0)
        self.addCleanup(lambda: self.wait(spool.close()))
        self.assertEqual(299, len(self.wait(spool.claim(1599.0, 1000))))
        self.assertEqual(1600.0, self.wait(spool.next_due()))
        (late,) = self.wait(spool.claim(1600.0, 1000))
        self.assertEqual((entry.message, len(entry.recipients)), (late.message, len(late.recipients)))


class RunningTests(DamageCase):
    def claim(self, spool: ISpool) -> list[Entry]:
        entries: list[Entry] = self.wait(spool.claim(1000.0, 1000))
        return entries

    def defer(self, spool: ISpool, entry: Entry) -> None:
        results = tuple(Result(recipient.address, State.QUEUED, 2000.0, "later") for recipient in entry.recipients)
        self.wait(spool.record(Report(entry.message, results, (), False)))

    def test_damaged_content(self) -> None:
        """A message whose content can't be read is quarantined with the reason; no other is touched."""
        self.spoil(self.root("chunks"))  # the root says where all others are: no content can be read
        spool = self.running()
        first, second, *_others = self.claim(spool)
        self.assertRaises(SpoolDamageError, self.wait, spool.content(first).chunk(0))
        self.defer(spool, first)
        self.defer(spool, second)
        self.assertEqual([second.message], [entry.message for entry in self.wait(spool.claim(3000.0, 1000))])
        reply = self.ask(f"SELECT last_reply FROM recipients WHERE message = {first.message}")
        self.assertIn("its content can't be read", reply)
        self.assertEqual("", spool.damage())

    def test_missing_content(self) -> None:
        """A chunk that is not there counts as damage, too: half a message is no message."""
        spool = self.running()
        first = self.claim(spool)[0]
        with closing(schema.connect(self.path)) as database:
            database.execute("DELETE FROM chunks WHERE message = ?", (first.message,))
        self.assertRaises(SpoolDamageError, self.wait, spool.content(first).chunk(0))
        self.defer(spool, first)
        self.assertEqual(
            "quarantined", self.ask(f"SELECT state FROM recipients WHERE message = {first.message} LIMIT 1")
        )

    def stopped(self, spool: Any, fail: Callable[[], object], *words: str) -> None:
        """The request fails, and then nothing is written any more."""
        self.assertRaises(SpoolDamageError, fail)
        for word in words:
            self.assertIn(word, spool.damage())
        self.assertRaises(SpoolDamageError, self.store, spool, 1002)
        self.assertRaises(SpoolDamageError, self.claim, spool)
        self.flushLoggedErrors()

    def test_damaged_page(self) -> None:
        """The first write that meets garbage is the last one: new mail is refused, the reason is there to be told."""
        spool = self.open()
        self.addCleanup(lambda: self.wait(spool.close()))
        self.spoil(self.root("messages_due"))
        self.stopped(spool, lambda: self.claim(spool), "damaged", "docs/operating.md")

    def test_deleted_file(self) -> None:
        """What is written to a file that has no name any more is not acknowledged."""
        spool = self.running()
        self.store(spool, 1000)
        self.path.rename(self.directory / "moved")
        self.stopped(spool, lambda: self.store(spool, 1001), str(self.path), "gone")

    def test_deleted_log(self) -> None:
        """The write-ahead log holds the newest mail: without its name nothing is acknowledged either."""
        spool = self.running()
        self.store(spool, 1000)
        Path(f"{self.path}-wal").unlink()
        self.stopped(spool, lambda: self.store(spool, 1001), "-wal is gone")

    def test_replaced_file(self) -> None:
        """Another file under the name, a backup put in place say, is not ours."""
        spool = self.running()
        self.store(spool, 1000)
        self.path.rename(self.directory / "moved")
        self.path.write_bytes(b"")
        self.stopped(spool, lambda: self.store(spool, 1001), "another file")

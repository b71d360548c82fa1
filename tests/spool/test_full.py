"""A full disk: new mail is refused, and what is queued can still leave."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.entry import Entry, Report, Result, State
from mta.spool import SpoolError, place, schema, soundness
from mta.spool.ballast import Ballast
from mta.spool.spool import Spool, memory_spool
from tests.contracts.spools import ORIGIN, envelope


class Pages:
    """As a `Ballast`, but what it gives back are pages that the database may grow by."""

    def __init__(self, database: schema.SpoolConnection, spare: int) -> None:
        self.held = True
        self._database = database
        self._spare = spare

    def fill(self) -> None:
        """The disk is full now."""
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        self._database.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    def give_back(self) -> bool:
        if not self.held:
            return False
        self.held = False
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        self._database.execute(f"PRAGMA max_page_count = {pages + self._spare}").fetchone()
        return True


class FullTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.calls: list[Any] = []
        self.database = schema.memory()
        self.spool: Spool = memory_spool(self.database, self.calls.append)
        self.ballast = Pages(self.database, 100)
        self.entries = [self.wait(self.store(message)) for message in range(1, 21)]

    def wait(self, waiting: Deferred[Any]) -> Any:
        self.turn()
        return self.successResultOf(waiting)

    def turn(self) -> None:
        while self.calls:
            self.calls.pop(0)()

    def store(self, message: int) -> Deferred[Entry]:
        receiving = self.spool.receive(message)
        receiving.write(b"Subject: x\r\n\r\n" + bytes(3000) + b"\r\n")
        return receiving.commit(envelope(), ORIGIN, 100.0, True)

    def defer(self, entry: Entry) -> Deferred[float | None]:
        """A report that takes room: replies of a page each."""
        results = tuple(Result(one.address, State.QUEUED, 200.0, "later " * 1000) for one in entry.recipients)
        return self.spool.record(Report(entry.message, results, (), False))

    def test_without_ballast(self) -> None:
        """Without it nothing can be noted any more; it fails, and nothing is lost."""
        self.ballast.fill()
        recorded = self.defer(self.entries[0])
        self.turn()
        error = self.failureResultOf(recorded, SpoolError).value
        self.assertTrue(soundness.is_full(error.__cause__ or error))

    def test_queue_is_emptied_with_the_ballast(self) -> None:
        """What is queued is recorded in the room of the ballast, in one batch with new mail, which is refused."""
        self.database.ballast = self.ballast
        self.ballast.fill()
        new, deferred = self.store(100), [self.defer(entry) for entry in self.entries]
        self.turn()
        self.assertIn("full", str(self.failureResultOf(new, SpoolError).value))
        self.assertEqual([200.0] * 20, [self.successResultOf(one) for one in deferred])
        self.assertFalse(self.ballast.held)

    def test_new_mail_does_not_get_the_ballast(self) -> None:
        """New mail alone does not have it given back, and finds no room in it once it is."""
        self.database.ballast = self.ballast
        self.ballast.fill()
        stored = self.store(100)
        self.turn()
        self.failureResultOf(stored, SpoolError)
        self.assertTrue(self.ballast.held)
        self.ballast.give_back()
        stored = self.store(101)
        self.turn()
        self.assertIn("disk is full", str(self.failureResultOf(stored, SpoolError).value))
        self.assertEqual(20, len(self.database.execute("SELECT 1 FROM messages").fetchall()))
        self.ballast.held = True
        self.assertEqual(102, self.wait(self.store(102)).message)

    def test_shared_memory_that_can_not_grow(self) -> None:
        """The I/O error that SQLite makes of a full disk below its shared memory is a full disk, too."""
        error = sqlite3.OperationalError("disk I/O error")
        self.assertFalse(soundness.is_full(error))
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        self.assertTrue(soundness.is_full(error))


class BallastTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.ballast = Ballast(self.directory, 1 << 20)
        self.file = self.directory / "ballast"

    def test_takes_blocks_and_gives_them_back(self) -> None:
        """It takes blocks of the disk, not only a length; given back, it is gone, once."""
        self.assertTrue(self.ballast.take())
        self.assertGreaterEqual(self.file.stat().st_blocks * 512, 1 << 20)
        self.assertTrue(self.ballast.give_back())
        self.assertFalse(self.file.exists())
        self.assertFalse(self.ballast.give_back())

    def test_left_by_the_last_process(self) -> None:
        """A start removes what the last process left, and may take it again."""
        self.ballast.take()
        later = Ballast(self.directory, 1 << 20)
        later.clear()
        self.assertFalse(self.file.exists())
        self.assertTrue(later.take())

    def test_disk_without_room(self) -> None:
        """Where it does not fit nothing of it stays."""
        self.assertFalse(Ballast(self.directory, 1 << 60).take())
        self.assertFalse(self.file.exists())

    def test_room_comes_back_with_the_ballast(self) -> None:
        """Mail is taken again when there is room for the ballast and for mail, and the ballast is made first."""
        free = 9
        self.patch(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=free, f_blocks=100, f_frsize=1 << 20))
        seconds = iter(range(10))
        room = place.Room(self.directory, 10, 1 << 20, lambda: float(next(seconds)), self.ballast)
        self.ballast.take()
        self.ballast.give_back()
        self.assertFalse(room())
        self.assertTrue(self.file.exists())  # two messages and the ballast fit, and a tenth is not free
        free = 12
        self.assertTrue(room())

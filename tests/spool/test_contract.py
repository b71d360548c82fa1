"""The spool's contract on a file with its threads, and on memory with a clock."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.entry import State
from mta.events import Event
from mta.interfaces import ISpool
from mta.selection import Selection
from mta.spool import SpoolError, reading, schema
from mta.spool.reading import QueueRow
from mta.spool.spool import memory_spool, open_spool
from tests.contracts.doubts import DoubtContract
from tests.contracts.spools import BOB, ORIGIN, SpoolContract, envelope


class MemorySpoolTests(SpoolContract, DoubtContract, SynchronousTestCase):
    """In memory: what tests and the simulator use."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.database = schema.memory()
        self.journal: list[Event] = []

    def open(self, **options: Any) -> ISpool:
        options.setdefault("journal", self.journal.append)
        return memory_spool(self.database, lambda call: self.clock.callLater(0, call), **options)

    reopen = open

    def wait(self, waiting: Deferred[Any]) -> Any:
        for _ in range(100):
            if waiting.called and not waiting.paused:
                break
            self.clock.advance(0)
        return self.successResultOf(waiting)

    def events(self, message: int) -> list[tuple[str, str | None]]:
        rows = self.database.execute("SELECT kind, recipient FROM events WHERE message = ? ORDER BY seq", (message,))
        return list(rows)

    def rows(self, state: State) -> list[QueueRow]:
        return list(reading.list_queue(self.database, Selection(state=state)))

    def pages(self) -> int:
        (count,) = self.database.execute("PRAGMA page_count").fetchone()
        return int(count)

    def corrupt(self, message: int, address: str) -> None:
        self.database.execute(f"UPDATE recipients SET address = {address} WHERE message = ?", (message,))

    def test_journal_tells_what_is_on_disk(self) -> None:
        """The journal gets each event after its transaction, in order, and none of a request that failed."""
        spool = self.open()
        self.store(spool, 1)
        twice = spool.receive(1).commit(envelope(), ORIGIN, 1.0, False)
        self.clock.advance(0)
        self.failureResultOf(twice, SpoolError)
        self.assertEqual([(1, "accepted")], [(event.message, event.kind.value) for event in self.journal])

    def test_journal_tells_what_a_start_finds(self) -> None:
        """What a start finds in doubt is in the log before anything else happens."""
        self.marked(BOB)
        self.journal.clear()
        self.reopen(now=900.0)
        (event,) = self.journal
        self.assertEqual((1, "in-doubt", 900.0), (event.message, event.kind.value, event.at))
        self.assertEqual([], self.database.written)

    def test_start_that_fails_tells_nothing(self) -> None:
        """What a start found that could not commit it is told once, by the start that can."""
        self.marked(BOB)
        self.journal.clear()
        self.database.execute("CREATE TRIGGER full BEFORE DELETE ON workers BEGIN SELECT RAISE(FAIL, 'full'); END")
        self.assertRaises(SpoolError, self.reopen)
        self.database.execute("DROP TRIGGER full")
        self.reopen()
        self.assertEqual([(1, "in-doubt")], [(event.message, event.kind.value) for event in self.journal])

    def test_mark_without_a_disk(self) -> None:
        """Where no transaction begins every mark that waits fails, and those that come later work again."""
        spool = self.open()
        self.store(spool, 1, claim=True)
        self.database.begin = "DISK FULL"
        failed = [spool.mark(1, (BOB,), "mx.test") for _ in range(3)]
        self.clock.advance(0)
        self.clock.advance(0)
        for mark in failed:
            self.failureResultOf(mark, SpoolError)
        self.database.begin = "BEGIN IMMEDIATE"
        self.wait(spool.mark(1, (BOB,), "mx.test"))
        self.reopen()
        self.assertEqual([str(BOB)], self.in_doubt())


class ThreadCalls:
    """As much of a reactor as the spool needs: the test's own thread runs the calls while it waits."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def callFromThread(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def callLater(self, _delay: float, call: Callable[[], None]) -> IDelayedCall:
        self._calls.put(call)
        return DelayedCall(0.0, call, (), {}, lambda _call: None, lambda _call: None)

    def run_one(self) -> None:
        self._calls.get(timeout=30)()

    def wait(self, waiting: Deferred[Any]) -> Any:
        results: list[Any] = []
        waiting.addBoth(results.append)
        while not results:
            self._calls.get(timeout=30)()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


class FileSpoolTests(SpoolContract, DoubtContract, SynchronousTestCase):
    """On disk, with the threads of the daemon."""

    def setUp(self) -> None:
        self.calls = ThreadCalls()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.opened: list[ISpool] = []
        self.addCleanup(lambda: [self.wait(spool.close()) for spool in self.opened])

    def open(self, now: float = 0.0, **options: Any) -> ISpool:
        spool = open_spool(self.directory, self.calls, pid=1, now=now, **options)
        self.opened.append(spool)
        return spool

    reopen = open

    def wait(self, waiting: Deferred[Any]) -> Any:
        return self.calls.wait(waiting)

    def _query(self, statement: str, *values: object) -> list[Any]:
        database = schema.connect(self.directory / schema.FILE_NAME)
        try:
            return database.execute(statement, values).fetchall()
        finally:
            database.close()

    def rows(self, state: State) -> list[QueueRow]:
        with reading.opened(self.directory / schema.FILE_NAME) as database:
            return list(reading.list_queue(database, Selection(state=state)))

    def events(self, message: int) -> list[tuple[str, str | None]]:
        return self._query("SELECT kind, recipient FROM events WHERE message = ? ORDER BY seq", message)

    def pages(self) -> int:
        ((count,),) = self._query("PRAGMA page_count")
        return int(count)

    def corrupt(self, message: int, address: str) -> None:
        self._query(f"UPDATE recipients SET address = {address} WHERE message = ?", message)

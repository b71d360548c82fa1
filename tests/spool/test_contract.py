"""The spool's contract on a file with its threads, and on memory with a clock."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.events import Event
from mta.interfaces import ISpool
from mta.spool import SpoolError, schema
from mta.spool.spool import memory_spool, open_spool
from tests.contracts.spools import ORIGIN, SpoolContract, envelope


class MemorySpoolTests(SpoolContract, SynchronousTestCase):
    """In memory: what tests and the simulator use."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.database = schema.memory()
        self.journal: list[Event] = []

    def open(self) -> ISpool:
        return memory_spool(self.database, lambda call: self.clock.callLater(0, call), journal=self.journal.append)

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


class ThreadCalls:
    """`callFromThread` for a test without a reactor: the test's own thread runs the calls while it waits."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def callFromThread(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def wait(self, waiting: Deferred[Any]) -> Any:
        results: list[Any] = []
        waiting.addBoth(results.append)
        while not results:
            self._calls.get(timeout=30)()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


class FileSpoolTests(SpoolContract, SynchronousTestCase):
    """On disk, with the threads of the daemon."""

    def setUp(self) -> None:
        self.calls = ThreadCalls()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.opened: list[ISpool] = []
        self.addCleanup(lambda: [self.wait(spool.close()) for spool in self.opened])

    def open(self) -> ISpool:
        spool = open_spool(self.directory, self.calls, pid=1, now=0.0)  # type: ignore[arg-type]
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

    def events(self, message: int) -> list[tuple[str, str | None]]:
        return self._query("SELECT kind, recipient FROM events WHERE message = ? ORDER BY seq", message)

    def pages(self) -> int:
        ((count,),) = self._query("PRAGMA page_count")
        return int(count)

    def corrupt(self, message: int, address: str) -> None:
        self._query(f"UPDATE recipients SET address = {address} WHERE message = ?", message)

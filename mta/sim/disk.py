"""
The simulated disk under the spool: a database in memory that outlives the program.

Owns: how long a commit takes, when the disk is full, what a crash leaves.
Never: knows what a transaction does.

A batch is on disk one fsync before anybody hears of it: a crash in between leaves a message that nobody acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from mta.spool.commit import MAX_BATCH, Journal, Request, Work, run_batch
from mta.spool.errors import SpoolError
from mta.spool.schema import SpoolConnection

T = TypeVar("T")

# Seconds for one fsync: a solid-state disk with a cache that keeps its word.
FSYNC = 0.002


class DiskCommit:
    """
    Group commit on the simulated disk, as `mta.spool.commit.ThreadedCommit` does it on a real one.

    While one batch is on its way to the disk, the next one gathers. `journal` gets each event once it is on disk.
    `interrupted` is asked before (False) and after (True) each batch is there whether the machine is dead.
    """

    def __init__(
        self, database: SpoolConnection, time: IReactorTime, journal: Journal, interrupted: Callable[[bool], bool]
    ) -> None:
        self._database = database
        self._time = time
        self._journal = journal
        self._interrupted = interrupted
        self._waiting: list[Request[Any]] = []
        self._busy = False
        self._closed: Deferred[None] | None = None

    def submit(self, work: Work[T]) -> Deferred[T]:
        """As `ThreadedCommit.submit`."""
        if self._closed is not None:
            return fail(SpoolError("spool: it is closed"))
        request = Request(work)
        self._waiting.append(request)
        self._begin()
        return request.answer

    def close(self) -> Deferred[None]:
        """Run what is waiting. What the database holds stays: it is the disk."""
        if self._closed is None:
            self._closed = Deferred()
            self._begin()
        return self._closed

    def _begin(self) -> None:
        if self._busy:
            return
        if self._waiting:
            self._busy = True
            self._time.callLater(FSYNC, self._commit)
        elif self._closed is not None:
            self._time.callLater(0, self._closed.callback, None)

    def _commit(self) -> None:
        if self._interrupted(False):
            return
        batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        events = run_batch(self._database, batch)
        for event in events:
            self._journal(event)
        if self._interrupted(True):
            return
        self._time.callLater(0, self._answer, batch)

    def _answer(self, batch: list[Request[Any]]) -> None:
        self._busy = False
        self._begin()
        for request in batch:
            request.fire()


class Disk:
    """The disk of one machine, with the spool's database on it."""

    def __init__(self, database: SpoolConnection) -> None:
        self.database = database
        self.is_full = False

    def fill(self) -> None:
        """From now on no page more can be written: SQLite says that the disk is full."""
        self.is_full = True
        # Nor is one to be had inside: what the mail that has gone left free would hold a lot of new mail.
        self.database.executescript("PRAGMA incremental_vacuum")
        (pages,) = self.database.execute("PRAGMA page_count").fetchone()
        self.database.execute(f"PRAGMA max_page_count = {pages}")

    def free(self) -> None:
        """There is room again."""
        self.is_full = False
        self.database.execute("PRAGMA max_page_count = 4294967294")

    def has_room(self) -> bool:
        """What the daemon asks before it takes mail."""
        return not self.is_full

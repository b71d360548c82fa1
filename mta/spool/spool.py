"""
The spool on SQLite.

Owns: the connections (one that writes, one that reads), this worker's row, and `ISpool`.
Never: decides when a message is due, or what becomes of it.
Fails: with `SpoolError`, always by Deferred once it is open.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.address import Address
from mta.entry import SMALL, Entry, Report
from mta.history import History
from mta.interfaces import IContent, IReceiving, ISpool
from mta.selection import Selection
from mta.spool import changing, moving, rules, schema, storing
from mta.spool.ballast import Ballast
from mta.spool.commit import Brief, Growth, InlineCommit, Journal, Staging
from mta.spool.content import Receiving, StoredContent
from mta.spool.content_files import ContentFiles
from mta.spool.errors import SpoolError
from mta.spool.fresh import FreshContent
from mta.spool.schema import SpoolConnection
from mta.spool.soundness import Files
from mta.spool.storing import RetryIn
from mta.spool.surgery import Surgery
from mta.spool.threaded import LINGER, ThreadedCommit
from mta.spool.turn import WritersTurn

T = TypeVar("T")

# Rows that an operator's command changes in one transaction: others must not wait long behind it.
CHANGES_AT_ONCE = 1000
# Events forgotten in one transaction.
PRUNED_AT_ONCE = 5000
# Pages of 4 KiB that stay in the file though they are free, and those given back in one transaction.
SPARE_PAGES = 4000
SHRUNK_AT_ONCE = 2500


@dataclass(frozen=True, slots=True)
class Membership:
    """
    Who writes to a spool that several processes share.

    `worker` is its number; `identity` that of the file which the first of them opened, None for the first: it finds
    all others dead.
    """

    worker: int
    identity: tuple[int, int] | None = None


ALONE = Membership(0)


class Runs(Protocol):
    """What runs a function of the connection: `ThreadedCommit` or `InlineCommit`."""

    def submit(self, work: Callable[[SpoolConnection], T], /) -> Deferred[T]: ...

    def close(self) -> Deferred[None]: ...


@implementer(ISpool)
class Spool:
    """
    `writing` and `reading` run functions of a connection to the database; `worker` is our row in workers.

    `damage` says why nothing is written any more (a damaged page, a file that is gone), "" while all is well; `surgery`
    is for operators.
    """

    def __init__(
        self, writing: Runs, reading: Runs, worker: int, largest_id: int, damage: Callable[[], str] = lambda: ""
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._worker = worker
        self._unreadable: dict[int, str] = {}  # messages whose content could not be read, until that is recorded
        self._fresh = FreshContent()
        self.largest_id = largest_id
        self.damage = damage
        self.surgery = Surgery(writing.submit)

    def receive(self, message: int) -> IReceiving:
        return self._receiving(message, None)

    def receive_again(self, message: int, history: History) -> IReceiving:
        return self._receiving(message, lambda database: moving.take_in(database, message, history))

    def _receiving(self, message: int, also: Callable[[SpoolConnection], None] | None) -> IReceiving:
        def submit(work: Callable[[SpoolConnection], T]) -> Deferred[T]:
            return self._writing.submit(Growth(work))

        def stage(work: Callable[[SpoolConnection], T]) -> Deferred[T]:
            return self._writing.submit(Staging(work))

        return Receiving(message, self._worker, submit, stage, self._fresh, also)

    def content(self, entry: Entry) -> IContent:
        def damaged(reason: str) -> None:
            self._unreadable[entry.message] = reason

        return StoredContent(entry, self._reading.submit, damaged, self._fresh)

    def claim(self, now: float, limit: int) -> Deferred[list[Entry]]:
        return self._writing.submit(lambda database: storing.claim_due(database, self._worker, now, limit))

    def next_due(self) -> Deferred[float | None]:
        def work(database: SpoolConnection) -> float | None:
            (due,) = database.execute(
                "SELECT min(due) FROM messages WHERE claim IS NULL AND due IS NOT NULL"
            ).fetchone()
            return None if due is None else float(due)

        return self._writing.submit(Brief(work))

    def wake(self, site: str, now: float, limit: int) -> Deferred[int]:
        return self._writing.submit(Brief(lambda database: storing.wake(database, site, now, limit)))

    def mark(self, message: int, addresses: Sequence[Address], host: str) -> Deferred[None]:
        return self._writing.submit(Brief(lambda database: storing.mark(database, message, addresses, host)))

    def record(self, report: Report) -> Deferred[float | None]:
        unreadable = None
        if not report.keep_claim:
            self._fresh.forget(report.message)
            unreadable = self._unreadable.pop(report.message, None)

        def work(database: SpoolConnection) -> float | None:
            return storing.record(database, report, self._worker, unreadable)

        # What is large comes and goes page by page.
        is_small = report.size <= SMALL and (report.bounce is None or len(report.bounce.content) <= SMALL)
        recorded = self._writing.submit(Brief(work) if is_small else work)
        if unreadable is not None:
            recorded.addErrback(self._not_quarantined, report.message, unreadable)
        return recorded

    def _not_quarantined(self, fault: Failure, message: int, reason: str) -> Failure:
        self._unreadable[message] = reason
        return fault

    def crashed(self, message: int, reason: str, now: float, due: float) -> Deferred[float | None]:
        self._fresh.forget(message)
        return self._writing.submit(lambda database: storing.count_crash(database, message, reason, now, due))

    def hold(self, selection: Selection, by: str, now: float) -> Deferred[list[tuple[int, str]]]:
        return self._change(changing.hold, selection, by, now)

    def unhold(self, selection: Selection, by: str, now: float) -> Deferred[list[tuple[int, str]]]:
        return self._change(changing.unhold, selection, by, now)

    def retry(self, selection: Selection, by: str, now: float) -> Deferred[list[tuple[int, str]]]:
        return self._change(changing.retry, selection, by, now)

    def discard(self, selection: Selection, by: str, now: float) -> Deferred[list[tuple[int, str]]]:
        return self._change(changing.discard, selection, by, now)

    def _change(
        self, change: changing.Change, selection: Selection, by: str, now: float
    ) -> Deferred[list[tuple[int, str]]]:
        """Repeat `change` in small transactions until it finds nothing more."""
        changed: list[tuple[int, str]] = []

        def again(pairs: list[tuple[int, str]]) -> list[tuple[int, str]] | Deferred[list[tuple[int, str]]]:
            changed.extend(pairs)
            return changed if len(pairs) < CHANGES_AT_ONCE else step()

        def step() -> Deferred[list[tuple[int, str]]]:
            submitted = self._writing.submit(lambda database: change(database, selection, by, now, CHANGES_AT_ONCE))
            return submitted.addCallback(again)

        return step()

    def prune(self, before: float) -> Deferred[int]:
        return Deferred.fromCoroutine(self._prune(before))

    async def _prune(self, before: float) -> int:
        forgotten = 0
        while True:
            found = await self._writing.submit(lambda database: changing.prune(database, before, PRUNED_AT_ONCE))
            forgotten += found
            if found < PRUNED_AT_ONCE:
                break
        given_back = SHRUNK_AT_ONCE
        while given_back == SHRUNK_AT_ONCE:
            given_back = await self._writing.submit(
                lambda database: changing.shrink(database, SPARE_PAGES, SHRUNK_AT_ONCE)
            )
        return forgotten

    def take_over(self, worker: int, now: float, retry_in: RetryIn | None) -> Deferred[None]:
        """Give back what another worker, which is dead, had claimed; what it had marked is in doubt."""
        return self._writing.submit(lambda database: storing.take_over(database, now, retry_in, worker))

    def stop_writing(self, reason: str) -> Deferred[None]:
        """Write nothing more: another worker has found that the file is damaged or gone."""

        def work(database: SpoolConnection) -> None:
            database.damage = database.damage or reason

        return self._writing.submit(work)

    def close(self) -> Deferred[None]:
        def work(database: SpoolConnection) -> None:
            storing.give_back(database, self._worker)
            database.execute("DELETE FROM workers WHERE id = ?", (self._worker,))

        given_back = self._writing.submit(work)
        given_back.addErrback(lambda _fault: None)  # the next start takes them over
        given_back.addCallback(lambda _done: self._reading.close())
        return given_back.addCallback(lambda _done: self._writing.close())


class Reactor(Protocol):
    """What the spool needs of a reactor: answers from its threads, and the next turn."""

    def callFromThread(self, call: Callable[[], None], /) -> None: ...

    def callLater(self, delay: float, call: Callable[[], None], /) -> IDelayedCall: ...


def _at_once(_attempts: int) -> float:
    return 0.0


def _begin(
    database: SpoolConnection,
    name: str,
    pid: int,
    now: float,
    journal: Journal,
    retry_in: RetryIn | None,
    longest_wait: float = math.inf,
    member: Membership = ALONE,
) -> int:
    """
    Prepare the tables, become a worker and take over what dead ones left; the largest id there.

    The first finds all others dead: whoever holds the lock on the state directory knows it. The others only know that
    nobody else has their number.
    """
    is_first = member.identity is None
    schema.prepare(database, name)
    try:
        database.execute("BEGIN IMMEDIATE")
        storing.take_over(database, now, retry_in, None if is_first else member.worker)
        storing.join(database, member.worker, pid, now)
        if is_first and longest_wait < math.inf:
            storing.pull_in(database, now + longest_wait)
        database.execute("COMMIT")
        rules.load(database)
        ids = database.execute("SELECT max(id) FROM messages UNION ALL SELECT max(message) FROM events").fetchall()
    except sqlite3.Error as error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        database.rolled_back()
        raise SpoolError(f"{name}: cannot begin: {error}") from error
    for event in database.committed():
        journal(event)
    return max(found or 0 for (found,) in ids)


def open_spool(
    state_dir: Path,
    reactor: Reactor,
    *,
    pid: int,
    now: float,
    journal: Journal = lambda _event: None,
    retry_in: RetryIn | None = _at_once,
    ballast: Ballast | None = None,
    longest_wait: float = math.inf,
    member: Membership | None = None,
) -> Spool:
    """
    The spool in `state_dir`, created where there is none; the caller holds the lock on the directory.

    `member` is who we are among several processes, None: there is no other.

    `journal` gets each event, once it is on disk. `retry_in` says when what is found in doubt is tried again, None that
    it waits for an operator.

    `ballast` is what the queue may be emptied with where the disk is full, None for nothing. What is due later than in
    `longest_wait` seconds was noted by a clock that was set back since: it is due then.

    Raises `SpoolError`, in one line that names the file.
    """
    path = state_dir / schema.FILE_NAME
    who = member or ALONE
    database = schema.connect(path, create=who.identity is None)
    if who.identity is not None:
        # Not the tables of an empty file either: one that has come in the place of ours is for nobody to use.
        schema.check(database, str(path))
        gone = Files(path, who.identity).missing()
        if gone:
            raise SpoolError(f"spool: {gone}")
    database.content = files = ContentFiles(state_dir, schema.CHUNK_SIZE)
    files.make()
    with (turn := WritersTurn(state_dir) if member else None) or nullcontext():
        largest_id = _begin(database, str(path), pid, now, journal, retry_in, longest_wait, who)
    database.files, database.ballast, database.turn = Files(path, who.identity), ballast, turn
    source = schema.connect(path, read_only=True)
    source.content = files
    writing = ThreadedCommit(database, reactor.callFromThread, reactor.callLater, journal, "spool writer", LINGER)
    reading = ThreadedCommit(source, reactor.callFromThread, reactor.callLater, journal, "spool reader")
    return Spool(writing, reading, who.worker, largest_id, lambda: database.damage)


def memory_spool(
    database: SpoolConnection,
    call_soon: Callable[[Callable[[], None]], object],
    *,
    now: float = 0.0,
    journal: Journal = lambda _event: None,
    retry_in: RetryIn | None = _at_once,
) -> Spool:
    """
    The same spool in memory, for tests.

    `database` (`mta.spool.schema.memory`) is what a disk would be, and outlives the spool: opening it again is a
    restart. `call_soon` is a clock's ``callLater(0, ...)``; `retry_in` as in `open_spool`.
    """
    running = InlineCommit(database, call_soon, journal)
    return spool_on(database, running, now, journal, retry_in)


def spool_on(
    database: SpoolConnection, running: Runs, now: float, journal: Journal, retry_in: RetryIn | None = _at_once
) -> Spool:
    """
    The spool in a database in memory, whose transactions `running` runs; opening it again is a restart.

    The other arguments are those of `open_spool`.
    """
    largest_id = _begin(database, "memory", 0, now, journal, retry_in)
    return Spool(running, running, ALONE.worker, largest_id)

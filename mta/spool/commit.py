"""
Group commit: many requests, one transaction, one fsync.

Owns: the order of durable steps, and the way answers and events come back.
Never: knows what a request does; a request is a function of the connection.
Fails: each request on its own, with `SpoolError`; a broken one does not take its neighbours along. A disk that gives
no transaction at all fails what waits, once. Behind a damaged page, or with the file gone, nothing is written any more:
what is there must not get worse, and what went there would be lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.events import Event
from mta.spool.errors import SpoolDamageError, SpoolError
from mta.spool.schema import LOCK_TIMEOUT, SpoolConnection
from mta.spool.soundness import ADVICE, is_damage, is_full

T = TypeVar("T")
Work = Callable[[SpoolConnection], T]
Journal = Callable[[Event], None]

# Requests in one transaction at most: bounds how long the first one waits for the last one's statements.
MAX_BATCH = 256

_log = Logger()


class Marked(Generic[T]):
    """Work with something to be known of it before it runs."""

    __slots__ = ("_work",)

    def __init__(self, work: Work[T]) -> None:
        self._work = work

    def __call__(self, database: SpoolConnection) -> T:
        return self._work(database)


class Brief(Marked[T]):
    """
    Work of a few statements on pages that are in memory.

    It is run in the reactor's thread, and so is the begin of its transaction: the other has the commit alone. In the
    writer's thread each statement would let go of the interpreter's lock and wait for it again, twenty times a message,
    while the reactor does the same at each system call. Measured, 4 KB messages relayed in one process, with a
    connection for each and with connections reused: statements, 982 -> 1,108 and 1,419 -> 1,615 a second; begin, too,
    1,194 -> 1,339 and 1,717 -> 1,970 (means of three runs, medians of three runs, taking turns).
    """

    __slots__ = ()


class Growth(Marked[T]):
    """Work that brings new mail: on a full disk it has to wait behind all that empties the queue."""

    __slots__ = ("is_brief",)

    def __init__(self, work: Work[T]) -> None:
        super().__init__(work)
        self.is_brief = isinstance(work, Brief)


class Staging(Growth[T]):
    """
    Growth that means nothing before a later commit, such as the first chunks of a large message.

    Its own commit has no fsync: the log of the database is one file, and that of the later one takes it along.
    """

    __slots__ = ()


class Request(Generic[T]):
    """One function to run inside a transaction, and who waits for its result."""

    __slots__ = ("answer", "grows", "is_brief", "lasts", "result", "work")

    def __init__(self, work: Work[T]) -> None:
        self.work = work
        self.grows = isinstance(work, Growth)
        self.is_brief = work.is_brief if isinstance(work, Growth) else isinstance(work, Brief)
        self.lasts = not isinstance(work, Staging)
        self.answer: Deferred[T] = Deferred()
        self.result: T | Failure | None = None

    def fire(self) -> None:
        """Tell who waits; in the reactor's thread."""
        if isinstance(self.result, Failure):
            self.answer.errback(self.result)
        else:
            self.answer.callback(self.result)  # type: ignore[arg-type]


def here(work: Callable[[], None]) -> None:
    work()


def run_batch(
    database: SpoolConnection, batch: list[Request[Any]], run: Callable[[Callable[[], None]], None] = here
) -> list[Event]:
    """
    Run all requests in one transaction and fill in their results; the events that are now on disk.

    `run` runs their statements, in whatever thread; the transaction is begun and committed in this one.

    After return a power cut can't lose what succeeded, where not all of it is `Staging`; before, nothing of it is
    visible. Where one request or the commit fails, everything is rolled back and each is tried in a transaction of its
    own: only the broken one fails. What empties the queue may have the room of the ballast where the disk is full.
    """
    if database.damage:
        return _all_failed(batch, SpoolDamageError(database.damage))
    batch = _admitted(database, batch)
    try:
        _begin(database, batch)
    except sqlite3.Error as error:
        # No request is to blame; alone, each would wait for the lock as long again (10 s).
        return _all_failed(batch, _noted(database, error))
    try:
        run(partial(_run_all, database, batch))
    except Exception as error:
        return _undone(database, batch, error, run)
    return finish_batch(database, batch, run)


def start_batch(database: SpoolConnection, batch: list[Request[Any]]) -> bool:
    """
    The first half of `run_batch`, without waiting: begin the transaction and run the statements.

    False: something is in the way, nothing was done, and `run_batch` has to see to it, for it can wait.
    """
    if database.damage or (database.ballast is not None and not database.ballast.held):
        return False
    try:
        _begin(database, batch, wait=False)
        _run_all(database, batch)
    except Exception:
        _roll_back(database)
        return False
    return True


def finish_batch(
    database: SpoolConnection, batch: list[Request[Any]], run: Callable[[Callable[[], None]], None] = here
) -> list[Event]:
    """The second half, with the fsync."""
    try:
        if database.content is not None:
            database.content.secure_names()
        database.execute("COMMIT")  # WAL and synchronous=FULL: this is the fsync
    except Exception as error:
        return _undone(database, batch, error, run)
    gone = database.files.missing() if database.files else ""
    if gone:  # committed, to a file that nobody will find again
        database.rolled_back()
        database.damage = f"spool: {gone}; {ADVICE}"
        return _all_failed(batch, SpoolDamageError(database.damage))
    return database.committed()


def _undone(
    database: SpoolConnection,
    batch: list[Request[Any]],
    error: Exception,
    run: Callable[[Callable[[], None]], None],
) -> list[Event]:
    """A batch, or its commit, failed: roll it back, and try what may succeed."""
    _roll_back(database)
    known = _noted(database, error)
    if database.damage:
        return _all_failed(batch, known)
    if len(batch) > 1:
        return [event for request in batch for event in run_batch(database, [request], run)]
    if batch and is_full(error) and not batch[0].grows and database.ballast and database.ballast.give_back():
        return run_batch(database, batch, run)
    return _all_failed(batch, known)


def _begin(database: SpoolConnection, batch: list[Request[Any]], *, wait: bool = True) -> None:
    if database.in_transaction:  # a rollback failed
        database.execute("ROLLBACK")
    _choose_sync(database, any(request.lasts for request in batch))
    if wait != database.waits:
        database.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT if wait else 0}")
        database.waits = wait
    database.execute(database.begin)


def _roll_back(database: SpoolConnection) -> None:
    database.rolled_back()
    with suppress(sqlite3.Error):
        if database.in_transaction:
            database.execute("ROLLBACK")


def _run_all(database: SpoolConnection, batch: list[Request[Any]]) -> None:
    for request in batch:
        request.result = request.work(database)


def _choose_sync(database: SpoolConnection, lasts: bool) -> None:
    """Whether the next commit has an fsync. Raises where that can't be set, so that nobody is told what isn't true."""
    if database.syncs != lasts:
        database.execute(f"PRAGMA synchronous = {'FULL' if lasts else 'NORMAL'}")
        database.syncs = lasts


def _admitted(database: SpoolConnection, batch: list[Request[Any]]) -> list[Request[Any]]:
    """What may run: while the ballast is given back, new mail must not eat the room that lets the old mail out."""
    if database.ballast is None or database.ballast.held:
        return batch
    _all_failed([request for request in batch if request.grows], SpoolError("spool: the disk is full"))
    return [request for request in batch if not request.grows]


def _all_failed(batch: list[Request[Any]], error: Exception) -> list[Event]:
    for request in batch:
        request.result = Failure(error)
    return []


def _noted(database: SpoolConnection, error: Exception) -> Exception:
    """The error as callers know it; a bug of ours keeps its own type, so that it is seen as one."""
    if not isinstance(error, sqlite3.Error):
        return error
    known = SpoolError(f"spool: {error}")
    if is_damage(error):
        known = SpoolDamageError(f"spool: the file is damaged: {error}; {ADVICE}")
        if database.files is not None:  # it writes
            database.damage = str(known)
    known.__cause__ = error
    return known


class InlineCommit:
    """
    `mta.spool.threaded.ThreadedCommit` without a thread, for a spool in memory: a batch runs when `call_soon` comes
    round.

    `call_soon` is a clock's ``callLater(0, ...)``; requests of one turn share a transaction, as they do in the thread.
    """

    def __init__(
        self, database: SpoolConnection, call_soon: Callable[[Callable[[], None]], object], journal: Journal
    ) -> None:
        self._database = database
        self._call_soon = call_soon
        self._journal = journal
        self._waiting: list[Request[Any]] = []
        self._closed = False

    def submit(self, work: Work[T]) -> Deferred[T]:
        """As `mta.spool.threaded.ThreadedCommit.submit`."""
        if self._closed:
            return fail(SpoolError("spool: it is closed"))
        request = Request(work)
        self._waiting.append(request)
        if len(self._waiting) == 1:
            self._call_soon(self._turn)
        return request.answer

    def close(self) -> Deferred[None]:
        """Run what is waiting. The connection stays open: what it holds is what a disk would."""
        self._closed = True
        self._turn()
        done: Deferred[None] = Deferred()
        self._call_soon(lambda: done.callback(None))
        return done

    def _turn(self) -> None:
        batch, self._waiting = self._waiting, []
        for start in range(0, len(batch), MAX_BATCH):
            part = batch[start : start + MAX_BATCH]
            fire(part, run_batch(self._database, part), self._journal)


def is_brief(batch: list[Request[Any]]) -> bool:
    """Whether the reactor may run all of it."""
    return all(request.is_brief for request in batch)


def fire(batch: list[Request[Any]], events: list[Event], journal: Journal) -> None:
    """Tell who waits for a batch what became of it, and the journal what is on disk now; in the reactor."""
    for event in events:
        try:
            journal(event)
        except Exception:  # a line of the log is worth less than the answers, for which others wait
            _log.failure("{id}: an event is not in the log", id=event.message)
    for request in batch:
        request.fire()

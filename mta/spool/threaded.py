"""
Group commit beside the reactor: the disk is waited for in a thread.

Owns: the thread, which requests make a batch, and whose the connection is at any moment.
Never: knows what a request does, or the steps of a transaction (`mta/spool/commit.py`).
Fails: each request on its own; whatever becomes of a batch, the thread goes on.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mta.events import Event
from mta.spool.commit import (
    MAX_BATCH,
    Journal,
    Request,
    Work,
    finish_batch,
    fire,
    here,
    is_brief,
    run_batch,
    start_batch,
)
from mta.spool.errors import SpoolError
from mta.spool.schema import SpoolConnection

T = TypeVar("T")

# A batch of so many requests is one of many that come at the same time. The next one waits until GROWTH times as many
# have come, or for LINGER seconds: PostgreSQL's commit_siblings and commit_delay. A batch costs an fsync and the
# interpreter's lock some forty times, whatever is in it. Measured, 4 KB from 20 sessions, CPU time a message and rate:
# with a connection each 0.65 -> 0.52 ms, 1,630 -> 1,886 messages/s, reused 0.48 -> 0.41 ms, 2,154 -> 2,272; two workers
# 0.74 -> 0.66 ms, 1,994 -> 2,162 and 0.49 -> 0.45 ms, 3,088 -> 3,200 (means of two runs, taking turns). A plain wait of
# 2 ms, or 1 in the place of GROWTH, cost rate with connections reused.
MANY = 4
GROWTH = 1.5
LINGER = 0.002

_log = Logger()


class ThreadedCommit:
    """
    Runs requests in the order they came, and waits for the disk in a thread of its own.

    Batches form by themselves: while one fsync runs, the next requests gather. Where all of a batch is `Brief` the
    reactor begins the transaction and runs its statements, and the thread has the commit alone: it is woken once for
    each batch. Behind a batch of `MANY` the next one gathers for `linger` seconds at most. `call_in_reactor` is
    `IReactorFromThreads.callFromThread`, `call_later` `IReactorTime.callLater`; `journal` gets each event, in the
    reactor, once it is on disk.

    The connection is the thread's while `_is_busy`, else the reactor's. The thread touches nothing of Twisted's.
    """

    def __init__(
        self,
        database: SpoolConnection,
        call_in_reactor: Callable[[Callable[[], None]], None],
        call_later: Callable[[float, Callable[[], None]], IDelayedCall],
        journal: Journal,
        name: str,
        linger: float = 0.0,
    ) -> None:
        self._database = database
        self._call_in_reactor = call_in_reactor
        self._call_later = call_later
        self._journal = journal
        self._linger = linger
        self._waiting: deque[Request[Any]] = deque()
        self._more: list[Request[Any]] = []  # it comes before what waits
        self._is_busy = False  # or just about to be
        self._lingering: IDelayedCall | None = None
        self._wanted = 0  # that it lingers for
        self._told = self._state
        self._closed: Deferred[None] | None = None
        self._batches: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work[T]) -> Deferred[T]:
        """Run `work` inside a transaction: its result, after the fsync."""
        if self._closed is not None:
            return fail(SpoolError("spool: it is closed"))
        request = Request(work)
        self._waiting.append(request)
        if not self._is_busy:
            self._is_busy = True
            self._call_later(0, self._start)
        elif self._lingering is not None and self._has_wanted:
            self._lingering.reset(0)
            self._lingering = None
        return request.answer

    def close(self) -> Deferred[None]:
        """Run what is waiting, close the connection and end the thread."""
        if self._closed is None:
            self._closed = Deferred()
            if not self._is_busy:
                self._is_busy = True
                self._call_later(0, self._start)
        return self._closed

    # In the reactor

    def _start(self) -> None:
        """Hand over the next batch, with its statements run where that does not keep the reactor waiting."""
        batch = self._gather()
        if not batch:  # it was closed
            self._end_if_closed()
        elif not is_brief(batch):
            self._batches.put(partial(self._run, batch))
        elif self._database.turn is None or self._database.turn.take():
            self._start_brief(batch)
        else:
            self._more = batch
            self._batches.put(self._wait_for_turn)

    def _start_brief(self, batch: list[Request[Any]]) -> None:
        """Run the statements of a batch; it is our turn."""
        if start_batch(self._database, batch):
            self._batches.put(partial(self._finish, batch))
        else:
            self._start_elsewhere(batch)

    def _start_elsewhere(self, batch: list[Request[Any]]) -> None:
        """Leave a batch to the thread, with the turn that it will have to take."""
        if self._database.turn is not None:
            self._database.turn.leave()
        self._batches.put(partial(self._run, batch))

    def _turn_came(self) -> None:
        """The thread has waited for the turn; what has gathered by now goes along."""
        batch = self._gather()
        if is_brief(batch):
            self._start_brief(batch)
        else:
            self._start_elsewhere(batch)

    def _finished(self, batch: list[Request[Any]], events: list[Event], more: list[Request[Any]]) -> None:
        """A batch is on disk, and the thread waits for the next; it has taken what is to come first, `more`."""
        self._more = more
        fire(batch, events, self._journal)
        self._wanted = min(int(len(batch) * GROWTH), MAX_BATCH) if len(batch) >= MANY else 0
        if self._linger and not self._has_wanted and self._closed is None:
            self._lingering = self._call_later(self._linger, self._start_or_rest)
        else:
            self._start_or_rest()

    def _start_or_rest(self) -> None:
        self._lingering = None
        if self._more or self._waiting:
            # Before what the answers brought about is sent: a mark that is asked for with the commands of a transaction
            # is to be on its way to the disk while they are on theirs.
            self._start()
        else:
            self._is_busy = False
            self._end_if_closed()

    def _end_if_closed(self) -> None:
        if self._closed is not None:
            self._batches.put(None)

    def _tell_closed(self) -> None:
        if self._closed is not None:
            self._closed.callback(None)

    # In the thread

    def _serve(self) -> None:
        while (batch := self._batches.get()) is not None:
            batch()
        with suppress(sqlite3.Error):
            self._database.close()
        self._call_in_reactor(self._tell_closed)

    def _finish(self, batch: list[Request[Any]]) -> None:
        """Commit what the reactor has run."""
        try:
            events = finish_batch(self._database, batch)
        finally:
            if self._database.turn is not None:
                self._database.turn.leave()
        self._answer(batch, events, [])

    def _wait_for_turn(self) -> None:
        """
        Wait until no other process writes, and let the reactor go on.

        Only then a batch is gathered: while another process has its turn, more comes together. Measured with two
        workers, CPU time a message: 0.603 -> 0.541 ms with connections reused, 0.815 -> 0.773 with one for each
        message (4 KB, 20 sessions; means of three runs, taking turns).
        """
        if self._database.turn is not None:
            self._database.turn.wait()
        self._call_in_reactor(self._turn_came)

    def _run(self, batch: list[Request[Any]]) -> None:
        """Run a batch, and those that have gathered by then, up to one that the reactor can run."""
        while batch:
            run = self._run_in_reactor if is_brief(batch) else here
            with self._database.turn or nullcontext():
                # Brief, and here because the reactor could not begin: SQLite's own lock is waited for here.
                events = run_batch(self._database, batch, run)
            more = self._gather()
            if not more or is_brief(more):
                self._answer(batch, events, more)
                return
            self._tell_state()
            self._call_in_reactor(partial(fire, batch, events, self._journal))
            batch = more

    def _answer(self, batch: list[Request[Any]], events: list[Event], more: list[Request[Any]]) -> None:
        self._tell_state()
        self._call_in_reactor(partial(self._finished, batch, events, more))

    def _run_in_reactor(self, work: Callable[[], None]) -> None:
        """Have the reactor do `work`, and wait until it has; what it raises is raised here."""
        done: SimpleQueue[Exception | None] = SimpleQueue()

        def call() -> None:
            try:
                work()
            except Exception as error:
                done.put(error)
            else:
                done.put(None)

        self._call_in_reactor(call)
        raised = done.get()
        if raised is not None:
            raise raised

    # In either

    @property
    def _has_wanted(self) -> bool:
        return len(self._more) + len(self._waiting) >= self._wanted

    def _gather(self) -> list[Request[Any]]:
        """All that waits now, as far as it fits into a transaction."""
        batch, self._more = self._more, []
        with suppress(IndexError):
            while len(batch) < MAX_BATCH:
                batch.append(self._waiting.popleft())
        return batch

    @property
    def _state(self) -> tuple[str, bool]:
        database = self._database
        return database.damage, database.ballast is None or database.ballast.held

    def _tell_state(self) -> None:
        state = self._state
        if state != self._told:
            self._told = state
            self._call_in_reactor(self._alarm)

    def _alarm(self) -> None:
        damage, has_room = self._state
        if damage:
            _log.critical("nothing is written or taken any more: {damage}", damage=damage)
        elif not has_room:
            _log.error("the disk is full: what is queued goes out with the room of the ballast, new mail is refused")

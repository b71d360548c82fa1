"""
The daemon in several processes: what `twistd mta` starts and stops where there are several workers.

Owns: the lock, the sockets, the memory that the workers share, their processes, the control socket.
Never: handles mail itself, but for what local users hand in over the control socket.
Fails: with `StartError` before the first connection.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.assembly import doubt_retry
from mta.config.schema import Config
from mta.daemon import channel
from mta.daemon.channel import Channel, Words
from mta.daemon.listening import Shared, bind, close
from mta.daemon.operators import Operators, Row
from mta.daemon.publishing import Publishing
from mta.daemon.seat import Process, Seat
from mta.daemon.starting import StartError
from mta.daemon.storage import Storage
from mta.daemon.worker import CHANNEL, COUNTS, FIRST_SOCKET, JOB, LOCK, Job
from mta.entry import Entry
from mta.interfaces import IQueue
from mta.message.templates import TemplateError
from mta.message.templates import load as load_languages
from mta.policy.shared_counts import SharedCounts
from mta.service import DaemonService
from mta.spool import schema
from mta.spool.spool import Membership

# Seconds for which a worker's answer to the status command is waited for.
PATIENCE = 2.0
# Pairs in one word to a worker.
PAIRS_AT_ONCE = 1000


class SupervisorService(DaemonService):
    """The daemon with several workers. Number 0 is the supervisor itself, where it writes to the spool."""

    _log = Logger()

    _storage: Storage | None = None
    _operators: Operators | None = None
    _publishing: Publishing | None = None
    _counts: SharedCounts

    def _start(self) -> None:
        config, reactor = self.config, self._reactor
        _check_texts(config)
        self._shared: list[Shared] = []
        self._seats: list[Seat] = []
        self._answers: dict[int, tuple[Deferred[Row], dict[int, Row]]] = {}
        self._asked = 0
        self._is_ready = False
        self._covering: dict[int, Process | None] = {}
        storage = self._storage = Storage(config, self._log_path, reactor, Membership(0))
        file = (config.state_dir / schema.FILE_NAME).stat()
        self._identity = file.st_dev, file.st_ino
        for listener in config.listeners:
            self._shared.append(bind(reactor, listener, config.workers))
        self._publishing = Publishing(config, reactor)
        # Each connection and each attempt may be the only one of its client or site.
        keys = config.limits.connections + config.queue.deliveries
        self._counts = SharedCounts(SharedCounts.make(config.workers + 1, keys), 0)
        self._operators = Operators(
            config, storage, _Everyone(self, storage), self._status, reactor, self._rules_changed
        )
        self._operators.open()
        self._seats += [Seat(number, self._spawn, self._inherit, reactor) for number in range(1, config.workers + 1)]
        for seat in self._seats:
            seat.start()

    def now(self) -> float:
        """Seconds since 1970."""
        return float(self._reactor.seconds())

    def tell_all(self, word: str, **more: object) -> None:
        """Say something to every worker there is."""
        for seat in self._seats:
            seat.tell(word, **more)

    # Workers

    def _spawn(self, seat: Seat) -> _WorkerProcess:
        job = Job(seat.number, self.config.workers, self.config, self._log_path, self._identity).write()
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        ours, theirs = socket.socketpair()
        process = _WorkerProcess(seat, lambda word, more: self._heard(seat, word, more))
        descriptors: dict[int, int | str] = {
            0: nothing,
            1: 1,
            2: "r",
            CHANNEL: theirs.fileno(),
            JOB: job,
            COUNTS: self._counts.descriptor,
            LOCK: self._lock.fileno(),
        }
        sockets = [shared.sockets[place] for place in range(self.config.workers) for shared in self._shared]
        descriptors.update((number, each.fileno()) for number, each in enumerate(sockets, FIRST_SOCKET))
        try:
            channel.adopt(self._reactor, ours, process.channel)
            # Our own path, in full: what twistd found, its workers find.
            program = f"import sys; sys.path[:] = {sys.path!r}; from mta.daemon.worker import main; main()"
            command = [sys.executable, "-c", program, f"mta worker {seat.number}"]
            self._reactor.spawnProcess(process, sys.executable, command, env=None, childFDs=descriptors)
        finally:
            theirs.close()
            os.close(job)
            os.close(nothing)
        return process

    def _heard(self, seat: Seat, word: str, more: Words) -> None:
        if word == "ready":
            seat.ready()
            self._cover()
            self._look_whether_ready()
        elif word == "more":
            self._tell_others(seat, "look")
        elif word == "damage":
            assert self._storage is not None
            self._storage.spool.stop_writing(more["why"])
            self._tell_others(seat, "damage", why=more["why"])
        elif word == "status":
            self._answered(seat, more["asked"], more["status"])

    def _tell_others(self, seat: Seat, word: str, **more: object) -> None:
        for other in self._seats:
            if other is not seat:
                other.tell(word, **more)

    def _cover(self) -> None:
        """Have a worker that is there accept the clients of those that are not."""
        able = next((seat.process for seat in self._seats if seat.is_ready), None)
        for seat in self._seats:
            wanted, covering = None if seat.is_ready else able, self._covering.get(seat.number)
            if wanted is covering:
                continue
            if covering is not None:
                covering.tell("leave", number=seat.number)
            self._covering[seat.number] = wanted
            if wanted is not None:
                wanted.tell("cover", number=seat.number)

    def _look_whether_ready(self) -> None:
        if not self._is_ready and all(seat.is_ready for seat in self._seats):
            self._is_ready = True
            self._log.info(
                "ready as {hostname}, with {workers} workers", hostname=self.config.hostname, workers=len(self._seats)
            )

    async def _take_over(self, number: int) -> None:
        assert self._storage is not None
        self._counts.wipe(number)
        retry_in = doubt_retry(self.config, self._storage.rng)
        await self._storage.spool.take_over(number, self._reactor.seconds(), retry_in)
        self.tell_all("look")

    def _inherit(self, number: int) -> Deferred[None]:
        """Give back what a dead worker had."""
        self._cover()
        return Deferred.fromCoroutine(self._take_over(number))

    # The status of all

    def _status(self) -> Deferred[Row]:
        self._asked += 1
        asked = self._asked
        answers: dict[int, Row] = {}
        told: Deferred[Row] = Deferred()
        self._answers[asked] = told, answers
        timer = self._reactor.callLater(PATIENCE, self._conclude, asked)
        told.addBoth(_cancelling, timer)
        self.tell_all("status", asked=asked)
        return told

    def _rules_changed(self) -> Deferred[Row]:
        """Have all workers read the rules for mail to come; who then answers has done so."""
        self.tell_all("rules")
        return self._status()

    def _answered(self, seat: Seat, asked: int, status: Row) -> None:
        if asked in self._answers:
            answers = self._answers[asked][1]
            answers[seat.number] = status
            if len(answers) == sum(seat.is_ready for seat in self._seats):
                self._conclude(asked)

    def _conclude(self, asked: int) -> None:
        """Answer with what the workers have said so far: one that does not answer is seen by its silence."""
        told, answers = self._answers.pop(asked)
        figures = ("active", "deliveries", "sessions")
        total: Row = {name: sum(int(str(answer[name])) for answer in answers.values()) for name in figures}
        total["workers"] = [{"worker": seat.number, **answers.get(seat.number, {})} for seat in self._seats]
        told.callback(total)

    # Change, and stop

    def _change_to(self, config: Config) -> None:
        assert self._storage is not None
        assert self._operators is not None
        assert self._publishing is not None
        _check_texts(config)
        self._publishing.change_to(config)
        self.config = config
        self._storage.change_to(config)
        self._operators.change_to(config)
        self.tell_all("config", config=b64encode(pickle.dumps(config)).decode("ascii"))

    async def _stop(self, end: float) -> None:
        if self._operators is not None:
            await self._operators.close()
        if self._publishing is not None:
            await self._publishing.close()
        close(self._shared)
        grace = max(0.0, end - self._reactor.seconds())
        await DeferredList([seat.stop(grace) for seat in self._seats])
        if self._storage is not None:
            await self._storage.close()
        self._lock.close()


class _WorkerProcess(ProcessProtocol):
    """The process of a worker, seen from here. What it says on its standard error goes into our log, line by line."""

    def __init__(self, seat: Seat, heard: Any) -> None:
        self.pid: int | None = None
        self.channel = Channel(heard, lambda: None)
        self._seat = seat
        self._log = Logger(namespace=f"mta.daemon.worker-{seat.number}")
        self._line = b""

    def tell(self, word: str, **more: object) -> None:
        self.channel.tell(word, **more)

    def kill(self) -> None:
        if self.transport is not None:
            self.transport.signalProcess("KILL")

    def connectionMade(self) -> None:
        self.pid = self.transport.pid  # type: ignore[union-attr]

    def errReceived(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._log.info("{line}", line=line.decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:
        if self._line:
            self.errReceived(b"\n")
        self._seat.ended(reason)


@implementer(IQueue)
class _Everyone:
    """The queue managers of all workers."""

    def __init__(self, supervisor: SupervisorService, storage: Storage) -> None:
        self._tell_all = supervisor.tell_all
        self._storage = storage
        self._now = supervisor.now

    def new_id(self) -> int:
        return self._storage.ids.next(self._now())

    def wants_claim(self) -> bool:
        return False

    def accepted(self, entry: Entry, claimed: bool) -> None:  # noqa: ARG002 (nothing is claimed by us)
        self._tell_all("look")

    def withdraw(self, pairs: Iterable[tuple[int, str]]) -> None:
        them = list(pairs)
        for begin in range(0, len(them), PAIRS_AT_ONCE):
            self._tell_all("withdraw", pairs=them[begin : begin + PAIRS_AT_ONCE])

    def due_changed(self) -> None:
        self._tell_all("due_changed")


def _check_texts(config: Config) -> None:
    """What only an assembly finds out, before the workers do."""
    try:
        load_languages(config.bounce.languages, config.templates)
    except TemplateError as error:
        raise StartError(f"bounce.templates: {error}", os.EX_CONFIG) from error


def _cancelling(row: Row, timer: Any) -> Row:
    if timer.active():
        timer.cancel()
    return row

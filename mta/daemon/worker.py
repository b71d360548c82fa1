"""
A worker process of a daemon that has several.

Owns: what a worker is handed at its start, and what it does when the supervisor speaks.
Never: outlives the supervisor: without it nobody would know of this worker, and the next daemon must not find it.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import FileLogObserver, Logger, eventAsText, globalLogBeginner

from mta import steady
from mta.config.schema import Config
from mta.daemon import channel, listening
from mta.daemon.channel import Channel, Words
from mta.daemon.starting import StartError, complain
from mta.daemon.storage import Storage
from mta.daemon.work import Work
from mta.policy.shared_counts import SharedCounts
from mta.reactor import install
from mta.spool.spool import Membership

# The descriptors that a worker is started with, beside the standard ones; then the sockets of worker 1, one for each
# listener, those of worker 2, ... The lock is that on the state directory: it is held until the last worker is gone,
# whatever became of the supervisor.
CHANNEL, JOB, COUNTS, LOCK, FIRST_SOCKET = 3, 4, 5, 6, 7
# Seconds: word that more is due than there is room for is gathered for that long.
GATHER = 0.1
# Seconds between two looks at whether the spool has been found damaged.
WATCH = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is: its number of `workers`, and `identity` of the spool file. Pickled, into a descriptor."""

    number: int
    workers: int
    config: Config
    log_path: Path | None
    identity: tuple[int, int]

    def write(self) -> int:
        """A descriptor to read it from, closed at exec unless it is handed on."""
        descriptor = os.memfd_create("mta-job", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(descriptor), "wb") as file:
            pickle.dump(self, file)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor


class Worker:
    """The worker of a job. Raises `StartError`."""

    _log = Logger()

    def __init__(self, job: Job, reactor: Any) -> None:
        self._job = job
        self._reactor = reactor
        self._covered: dict[int, list[IListeningPort]] = {}
        self._more: IDelayedCall | None = None
        self._end: float | None = None
        self._storage = Storage(job.config, job.log_path, reactor, Membership(job.number, job.identity))
        self._work = Work(
            job.config,
            self._storage,
            reactor,
            counts=SharedCounts(COUNTS, job.number),
            workers=job.workers,
            others=self._tell_of_more,
        )
        self._listen(job.number)
        self._watch = LoopingCall(self._look_for_damage)
        self._watch.clock = reactor
        self._channel = Channel(self._heard, self._alone)
        channel.adopt(reactor, socket.socket(fileno=CHANNEL), self._channel)
        reactor.addSystemEventTrigger("before", "shutdown", self._stop)

    def start(self) -> None:
        """Begin."""
        self._watch.start(WATCH, now=False)
        self._work.start()
        self._channel.tell("ready")

    def _listen(self, number: int) -> list[IListeningPort]:
        """Listen on the sockets of a worker: our own, or one that is away."""
        listeners = self._job.config.listeners
        first = FIRST_SOCKET + (number - 1) * len(listeners)
        ports = [
            listening.adopt(self._reactor, listener, descriptor, self._work.fronts[listener.endpoint])
            for descriptor, listener in enumerate(listeners, first)
        ]
        self._work.ports += ports
        return ports

    def _leave(self, number: int) -> None:
        """A worker is there again."""
        for port in self._covered.pop(number, ()):
            self._work.ports.remove(port)
            port.stopListening()

    def _heard(self, word: str, more: Words) -> None:
        work = self._work
        if word == "look":
            work.look()
        elif word == "due_changed":
            work.due_changed()
        elif word == "rules":
            self._storage.spool.surgery.load_rules()
        elif word == "withdraw":
            work.withdraw((message, address) for message, address in more["pairs"])
        elif word == "status":
            self._channel.tell("status", asked=more["asked"], status={"pid": os.getpid(), **work.status})
        elif word == "cover":
            self._covered[more["number"]] = self._listen(more["number"])
        elif word == "leave":
            self._leave(more["number"])
        elif word == "damage":
            self._storage.spool.stop_writing(more["why"])
        elif word == "config":
            self._change_to(pickle.loads(b64decode(more["config"])))
        elif word == "stop":
            self._end = self._reactor.seconds() + more["grace"]
            self._reactor.stop()

    def _change_to(self, config: Config) -> None:
        try:
            self._work.change_to(config)
        except StartError as error:  # the supervisor has tried it: a file has changed meanwhile
            self._log.error("the configuration is as it was, the new one can't be used: {why}", why=error)

    def _tell_of_more(self) -> None:
        if self._more is None or not self._more.active():
            self._more = self._reactor.callLater(GATHER, self._channel.tell, "more")

    def _look_for_damage(self) -> None:
        why = self._storage.spool.damage()
        if why:
            self._watch.stop()
            self._channel.tell("damage", why=why)

    def _alone(self) -> None:
        """The supervisor is gone, without a word: as if we had been killed with it."""
        if self._end is None:
            os._exit(os.EX_SOFTWARE)

    def _stop(self) -> Deferred[None]:
        """The supervisor said so, or somebody sent a signal."""
        if self._end is None:
            self._end = self._reactor.seconds() + self._work.config.shutdown_grace
        return Deferred.fromCoroutine(self._close(self._end))

    async def _close(self, end: float) -> None:
        if self._watch.running:
            self._watch.stop()
        # The ports have their own: clients are refused from now on where the supervisor has closed its, too.
        os.closerange(FIRST_SOCKET, FIRST_SOCKET + self._job.workers * len(self._job.config.listeners))
        await self._work.stop(end)
        await self._storage.close()


def main() -> None:
    """Be a worker; the descriptors say which."""
    # What is said here reaches the daemon's log through the supervisor, which has its time.
    globalLogBeginner.beginLoggingTo(
        [FileLogObserver(sys.stderr, lambda event: f"{eventAsText(event, includeTimestamp=False)}\n")],
        redirectStandardIO=False,
    )
    install()
    from twisted.internet import reactor

    with os.fdopen(JOB, "rb") as file:
        job: Job = pickle.load(file)
    steady.keep(reactor)
    # It is for the supervisor, and what else it may come from (a terminal that closes) means it, too.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        Worker(job, reactor).start()
    except StartError as error:
        complain(str(error))
        raise SystemExit(error.code) from error
    reactor.run()

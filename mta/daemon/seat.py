"""
The place of one worker: its process, and the next one when that has ended.

Owns: when a worker is started again.
Never: knows how a process is made, or what a worker does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

# Seconds until a worker that ended is started again: the first time, and at most; each time doubles it.
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
# Seconds that a worker has to live for the next delay to be the first one again.
GOOD_LIFE = 60.0
# Seconds until what a dead worker left is asked for again, where that failed.
ASK_AGAIN = 5.0
# Seconds beyond its grace that a worker that was told to stop gets before it is killed.
OVERTIME = 5.0


class Process(Protocol):
    """A worker's process."""

    pid: int | None

    def tell(self, word: str, **more: object) -> None: ...

    def kill(self) -> None: ...


class Seat:
    """
    Worker `number`, whoever it is by now.

    `spawn` starts a process of it, which calls `ready` and `ended`, or raises OSError. `inherit` gives back what a dead
    one had; until its Deferred has fired, and again and again where it fails, nobody takes the seat.
    """

    _log = Logger()

    def __init__(
        self,
        number: int,
        spawn: Callable[[Seat], Process],
        inherit: Callable[[int], Deferred[None]],
        clock: IReactorTime,
    ) -> None:
        self.number = number
        self.process: Process | None = None
        self.is_ready = False
        self._spawn = spawn
        self._inherit = inherit
        self._clock = clock
        self._began = 0.0
        self._delay = FIRST_DELAY
        self._vacated: Deferred[None] | None = None
        self._overtime: IDelayedCall | None = None

    def start(self) -> None:
        """Start a process."""
        if self._vacated is None:
            self._began = self._clock.seconds()
            try:
                self.process = self._spawn(self)
            except OSError as error:  # no memory, no descriptor, no process left
                self._vacate(f"can't be started: {error}")

    def ready(self) -> None:
        """The process works."""
        self.is_ready = True

    def tell(self, word: str, **more: object) -> None:
        """Say something to the worker, if there is one."""
        if self.process is not None:
            self.process.tell(word, **more)

    def stop(self, grace: float) -> Deferred[None]:
        """Let the worker finish what is under way, `grace` seconds at most; fires when it is gone."""
        if self._vacated is None:
            self._vacated = Deferred()
            if self.process is None:
                return succeed(None)
            self.tell("stop", grace=grace)
            self._overtime = self._clock.callLater(grace + OVERTIME, self._too_late)
        return self._vacated

    def _too_late(self) -> None:
        self._log.error("worker {number} does not end, it is killed", number=self.number)
        if self.process is not None:
            self.process.kill()

    def ended(self, reason: Failure) -> None:
        """The process is gone."""
        self.process, self.is_ready = None, False
        if self._vacated is not None:
            if self._overtime is not None and self._overtime.active():
                self._overtime.cancel()
            self._vacated.callback(None)
            return
        how = "has ended" if reason.check(ProcessDone) else f"has died: {reason.getErrorMessage()}"
        self._vacate(how)

    def _vacate(self, how: str) -> None:
        now = self._clock.seconds()
        if now - self._began >= GOOD_LIFE:
            self._delay = FIRST_DELAY
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY)
        self._log.error(
            "worker {number} {how}; it is started again in {delay:.0f} s", number=self.number, how=how, delay=delay
        )
        again = Deferred.fromCoroutine(self._start_again(now + delay))
        again.addErrback(lambda fault: self._log.failure("worker {n} is not started again", fault, n=self.number))

    async def _start_again(self, at: float) -> None:
        while self._vacated is None:
            try:
                await self._inherit(self.number)
                break
            except Exception as error:
                self._log.error(
                    "what worker {number} had can't be given back yet: {why}", number=self.number, why=error
                )
                await deferLater(self._clock, ASK_AGAIN)
        await deferLater(self._clock, max(0.0, at - self._clock.seconds()))
        self.start()

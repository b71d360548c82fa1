"""
The simulated time: Twisted's `Clock` for a hundred thousand pending calls.

Owns: which call is next. Equal times keep the order in which they were asked for, so that a run can be repeated.
Never: waits; `run_until` jumps from call to call.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from itertools import count

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock


class SimulatedClock(Clock):
    """
    A `Clock` that keeps its calls in a heap: Twisted's sorts all of them before and behind each call.

    `start` is the time it shows at first, in seconds since 1970. After `most_calls` it gives up: a program that goes in
    circles without time going on would never end.
    """

    def __init__(self, start: float) -> None:
        super().__init__()
        self.made = 0
        self.most_calls = math.inf
        self.rightNow = start
        self.stopped = False  # somebody wants the run to end before its time
        self._heap: list[tuple[float, int, DelayedCall]] = []
        self._numbers = count()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        call = DelayedCall(self.rightNow + delay, callable, args, kw, _forget, self._push, self.seconds)
        self._push(call)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return [call for _time, _number, call in self._heap if call.active()]

    def advance(self, amount: float) -> None:
        self.run_until(self.rightNow + amount)

    def run_until(self, end: float) -> None:
        """
        Make every call that is due by `end`, each at its own time; then it is `end`, unless it was `stopped`.

        Raises RuntimeError after `most_calls`.
        """
        while not self.stopped and self.step(end):
            self.made += 1
            if self.made > self.most_calls:
                raise RuntimeError(f"{self.made} calls were made, and it does not end")
        if not self.stopped:
            self.rightNow = max(self.rightNow, end)

    def step(self, end: float) -> bool:
        """Make the next call that is due by `end`; whether there was one."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            time, _number, call = heapq.heappop(heap)
            if call.called or call.cancelled:
                continue
            due = call.time + call.delayed_time
            if due > time:  # it was put off, and pushed no second time
                call.activate_delay()
                self._push(call)
                continue
            if due < time:  # it was drawn near, and has been pushed a second time
                continue
            self.rightNow = max(self.rightNow, time)
            call.called = 1
            call.func(*call.args, **call.kw)
            return True
        return False

    def _push(self, call: DelayedCall) -> None:
        heapq.heappush(self._heap, (call.time + call.delayed_time, next(self._numbers), call))


def _forget(_call: DelayedCall) -> None:
    """A cancelled call stays in the heap until its time: to search for it would cost more."""

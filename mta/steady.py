"""
The time of the daemon: the machine's clock, without its jumps.

Owns: telling a jump from the passing of time.
Never: sets a clock. What was queued before a restart is `mta.spool`'s to bring back into reach.

All that waits, waits on this: with the plain clock, one set back by a day holds every timer up for a day, and one set
forward by a day ends every session, and the lifetime of what has less than a day left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.logger import Logger

# Seconds by which the clock may move within one look without counting as set: what ntpd and chrony step at a start is
# a few, and no timer of ours is upset by it.
LARGEST_STEP = 30.0

# Seconds that have passed, those in which the machine slept included: a laptop that wakes up has not jumped.
_since_boot = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

_log = Logger()


class SteadyTime:
    """
    Seconds since 1970. `wall` is the clock that may be set, `steady` one that only passes, both in seconds.

    Drift and small steps are followed. A jump is not: `jumped` is told how far, and time goes on as before.
    """

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float], jumped: Callable[[float], None]) -> None:
        self._wall = wall
        self._steady = steady
        self._jumped = jumped
        self._ahead = wall() - steady()
        self._offset = 0.0

    def __call__(self) -> float:
        wall = self._wall()
        ahead = wall - self._steady()
        jump = ahead - self._ahead
        self._ahead = ahead
        if not -LARGEST_STEP <= jump <= LARGEST_STEP:
            self._offset -= jump
            self._jumped(jump)
        return wall + self._offset


def keep(reactor: Any) -> None:
    """Have a reactor of Twisted's count its time so; to be called before anything waits on it."""
    reactor.seconds = SteadyTime(time.time, _since_boot, _tell)


def _tell(jump: float) -> None:
    _log.warn(
        "the machine's clock was set {way} by {by:.0f} s: times go on as before until the next start",
        way="forward" if jump > 0 else "back",
        by=abs(jump),
    )

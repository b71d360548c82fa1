"""
Decide when a recipient is tried next, and when no more.

Owns: the retry ladder, its jitter, the lifetime, when a sender hears of a delay.
Never: reads a clock, touches the spool, knows why an attempt failed.
Fails: never.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    `retry` holds the waits in seconds after the first, second, ... attempt, the last one repeats; `jitter` is the share
    by which a wait is stretched or shrunk, so that a burst does not come back as a burst. `lifetime` and
    `bounce_lifetime` (for the null reverse-path) in seconds; so is `delay_notice`, 0 for never.
    """

    retry: tuple[float, ...]
    jitter: float
    lifetime: float
    bounce_lifetime: float
    delay_notice: float = 0.0

    @property
    def longest(self) -> float:
        """The longest wait between two attempts, in seconds, but for the jitter."""
        return max(self.retry)

    def expiry(self, arrived: float, *, is_bounce: bool) -> float:
        """When a message that arrived then is given up: the first attempt that fails after this is the last."""
        return arrived + (self.bounce_lifetime if is_bounce else self.lifetime)

    def notice(self, arrived: float) -> float:
        """From when on a deferral of a message that arrived then is told to its sender; infinite for never."""
        return arrived + self.delay_notice if self.delay_notice else math.inf

    def next_try(self, now: float, attempts: int, expiry: float, rng: random.Random) -> float:
        """
        When to try again after `attempts` failed ones (1 or more), seconds since 1970.

        Never past the expiry: the last attempt is made when the lifetime ends (RFC 5321 4.5.4.1 gives up after it).
        """
        wait = self.retry[min(attempts, len(self.retry)) - 1]
        due = now + wait * rng.uniform(1 - self.jitter, 1 + self.jitter)
        return min(due, expiry) if now < expiry else due

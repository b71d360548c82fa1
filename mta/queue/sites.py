"""
Decide how many attempts a site gets at once, and when it is left alone.

Owns: the concurrency window with its feedback, and the dead mark of a site.
Never: starts an attempt, reads a clock (`now` is an argument), touches a message.

The window follows Postfix's scheduler (SCHEDULER_README, 1/N feedback): each good answer widens it by 1/window, each
attempt that found no mail server narrows it by as much, and enough of these in a row (`cohort_failures` windows full)
mark the site dead. A dead site is asked again by one attempt at a time, after a wait that doubles.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SiteLimits:
    """Attempts at once to begin with and at most; cohorts of failures until dead; first and longest wait, seconds."""

    initial: int
    maximum: int
    cohort_failures: int
    dead_initial: float
    dead_maximum: float


class SiteWindow:
    """The state of one site."""

    __slots__ = ("_cohort", "_limits", "_wait", "_window", "dead_until", "running")

    def __init__(self, limits: SiteLimits) -> None:
        self._limits = limits
        self._window = float(limits.initial)
        self._cohort = 0.0
        self._wait = 0.0  # of the last dead mark; 0 for a site that lives
        self.dead_until = 0.0  # seconds since 1970
        self.running = 0

    @property
    def wait(self) -> float:
        """Seconds from the last dead mark to the probe; 0 for a site that lives."""
        return self._wait

    @property
    def concurrency(self) -> int:
        """Attempts that may run at once: one probe while the site has not answered since it was marked."""
        return 1 if self._wait else int(self._window)

    def is_dead(self, now: float) -> bool:
        """Whether it is left alone at `now`."""
        # The lower bound: a clock set back must not lengthen the wait.
        return self.dead_until - self._wait <= now < self.dead_until

    def may_start(self, now: float) -> bool:
        """Whether one more attempt may start."""
        return self.running < self.concurrency and not self.is_dead(now)

    def forgive(self) -> None:
        """Let a dead site be asked now, by one probe: an operator says that it is back."""
        self.dead_until = 0.0

    def started(self) -> None:
        self.running += 1

    def answered(self) -> None:
        """An attempt ended in which a mail server spoke to us, whatever it said of the message."""
        self.running -= 1
        self._cohort = 0.0
        if self._wait:
            self._wait = self.dead_until = 0.0
            self._window = float(self._limits.initial)
        elif self._window < self._limits.maximum:
            self._window = min(self._window + 1 / self._window, float(self._limits.maximum))

    def did_not_answer(self, now: float) -> None:
        """An attempt ended without a mail server at any address: the site may become dead."""
        self.running -= 1
        if self.is_dead(now):  # one of a cohort; the first one set the wait
            return
        self._cohort += 1 / max(1, int(self._window))
        self._window = max(1.0, self._window - 1 / self._window)
        # 1e-9: three times a third must count as one.
        if self._wait or self._cohort >= self._limits.cohort_failures - 1e-9:
            self._wait = min(self._wait * 2 or self._limits.dead_initial, self._limits.dead_maximum)
            self.dead_until = now + self._wait

    def ended(self) -> None:
        """An attempt ended for a reason of our own: it says nothing about the site."""
        self.running -= 1

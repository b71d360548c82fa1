"""
Whose turn it is: jobs wait by site, and sites take turns.

Owns: the queue of each site, the ring of sites that may start a job, the number of attempts at once over all sites.
Never: knows what an attempt does. `start` is called with a job when its turn comes, `set_aside` when its site is dead.

Ten thousand jobs for one site wait behind each other only: a site has a place in the ring, a job has not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection
from enum import Enum
from typing import Protocol

from mta.outcome import Deferral
from mta.policy.counts import LocalPlaces
from mta.queue.sites import SiteLimits, SiteWindow
from mta.queue.window import Active, Job

# Sites remembered, unless more have something to do; a forgotten one begins with the initial window again.
MAX_SITES = 10_000
# Messages that are drawn from the spool at once when a site answers, at first.
FIRST_DRAW = 50
# Seconds until a site is looked at again whose places other workers have: what a freed place is idle for at most.
LOOK_AGAIN = 0.05


class Places(Protocol):
    """`mta.policy.kept_places.KeptPlaces`."""

    def take(self, site: str, limit: int, /) -> bool: ...

    def leave(self, site: str, /) -> None: ...

    def wait(self, site: str, /) -> None: ...


class Ending(Enum):
    """What an attempt says of its site."""

    ANSWERED = "answered"
    NO_ANSWER = "no answer"
    OUR_FAULT = "our fault"


class SiteQueue:
    """
    One site: its window and the jobs that wait for it.

    `in_ring`: it has its place in the ring. `crowded_out`: other workers had all its places at the last look. `silence`
    is what the last attempt without an answer met, `silent_at` when. For `backlog.py`:
    `soon` messages come back soon after `soon_until`, `draw` are drawn next, `is_drawn` while they are, `looked_at` is
    when there were no more.
    """

    __slots__ = (
        "crowded_out",
        "draw",
        "in_ring",
        "is_drawn",
        "looked_at",
        "name",
        "seconds",
        "silence",
        "silent_at",
        "soon",
        "soon_until",
        "waiting",
        "window",
    )

    def __init__(self, name: str, limits: SiteLimits) -> None:
        self.name = name
        self.window = SiteWindow(limits)
        self.waiting: deque[Job] = deque()
        self.in_ring = False
        self.crowded_out = False
        self.silence: Deferral | None = None
        self.silent_at = 0.0
        self.seconds = 1.0  # a mean attempt takes, by exponential average
        self.soon = 0
        self.soon_until = 0.0
        self.draw = FIRST_DRAW
        self.is_drawn = False
        self.looked_at = -math.inf

    def expected_wait(self) -> float:
        """Seconds until a job that joins now gets its turn, as things go."""
        return len(self.waiting) * self.seconds / max(1, self.window.concurrency)


class Turns:
    """
    `at_once` attempts run at most over all sites; `now` gives seconds since 1970.

    `places` are those of the sites, over all workers: one more attempt starts only while all together have fewer under
    way than our own window of the site allows. `call_later` is a clock's; without other workers it is never needed.
    """

    def __init__(
        self,
        limits: SiteLimits,
        at_once: int,
        now: Callable[[], float],
        start: Callable[[Job], None],
        set_aside: Callable[[SiteQueue, list[Job]], None],
        places: Places | None = None,
        call_later: Callable[[float, Callable[[], None]], object] = lambda _seconds, _call: None,
    ) -> None:
        self._places = places or LocalPlaces()
        self._call_later = call_later
        self._crowded_out: list[SiteQueue] = []
        self._limits = limits
        self._at_once = at_once
        self._now = now
        self._start = start
        self._set_aside = set_aside
        self._sites: dict[str, SiteQueue] = {}
        self._ring: deque[SiteQueue] = deque()
        self._crowded = MAX_SITES  # that many are too many
        self._turning = False
        self._stopped = False
        self.running = 0

    def site(self, name: str) -> SiteQueue:
        """The site of that name, made where it is new."""
        site = self._sites.get(name)
        if site is None:
            if len(self._sites) >= self._crowded:
                self._forget_idle()
            site = self._sites[name] = SiteQueue(name, self._limits)
        return site

    def add(self, job: Job) -> None:
        """Let `job` wait for its turn, which may be now."""
        site = self.site(job.destination.site)
        if site.window.is_dead(self._now()):
            self._set_aside(site, [job])
            return
        site.waiting.append(job)
        if not site.crowded_out:
            self._enter_ring(site)
        self._turn()

    def ended(self, job: Job, ending: Ending, silence: Deferral | None = None) -> SiteQueue:
        """The attempt of `job` is over; `silence` is what it met where the site gave no answer. Its site."""
        now = self._now()
        site = self.site(job.destination.site)
        self._places.leave(site.name)
        self.running -= 1
        site.seconds += 0.1 * (min(now - job.began, 3600.0) - site.seconds)
        if ending is Ending.ANSWERED:
            site.window.answered()
        elif ending is Ending.OUR_FAULT:
            site.window.ended()
        else:
            site.silence, site.silent_at = silence, now
            site.window.did_not_answer(now)
            self._clear_if_dead(site)
        self._enter_ring(site)
        self._turn()
        return site

    def forgive(self) -> None:
        """Let all dead sites be asked again."""
        for site in self._sites.values():
            site.window.forgive()

    def stop(self) -> None:
        """Start nothing more."""
        self._stopped = True

    def clear(self) -> list[Job]:
        """Take all jobs that wait."""
        jobs = [job for site in self._sites.values() for job in site.waiting]
        for site in self._sites.values():
            site.waiting.clear()
        return jobs

    def withdraw(self, actives: Collection[Active]) -> list[Job]:
        """Take those who are withdrawn from the jobs of these messages that wait; the jobs that have nobody left."""
        empty: list[Job] = []
        for site in self._sites.values():
            concerned = [job for job in site.waiting if job.active in actives]
            for job in concerned:
                job.withdraw()
            if gone := [job for job in concerned if not job.recipients]:
                empty += gone
                site.waiting = deque(job for job in site.waiting if job.recipients)
        return empty

    def _clear_if_dead(self, site: SiteQueue) -> None:
        if site.waiting and site.window.is_dead(self._now()):
            jobs, site.waiting = list(site.waiting), deque()
            self._set_aside(site, jobs)

    def _enter_ring(self, site: SiteQueue) -> None:
        if site.waiting and not site.in_ring and site.window.may_start(self._now()):
            site.in_ring = True
            self._ring.append(site)

    def _turn(self) -> None:
        """Start what may start, one job a site in turn."""
        if self._turning:  # an attempt that ends at once comes back here: the loop below goes on for it
            return
        self._turning = True
        try:
            while self._ring and self.running < self._at_once and not self._stopped:
                site = self._ring.popleft()
                site.in_ring = False
                self._clear_if_dead(site)  # after a clock that was set back has come round
                if site.waiting and site.window.may_start(self._now()):
                    if not self._places.take(site.name, site.window.concurrency):
                        self._crowd_out(site)
                        continue
                    job = site.waiting.popleft()
                    site.window.started()
                    self.running += 1
                    self._start(job)
                    if not site.crowded_out:  # one for one: our own place that is free again is ours to ask for
                        self._enter_ring(site)
        finally:
            self._turning = False

    def _crowd_out(self, site: SiteQueue) -> None:
        """Other workers have all places of a site: we wait for one of theirs until the next look."""
        self._places.wait(site.name)
        if site.crowded_out:
            return
        site.crowded_out = True
        self._crowded_out.append(site)
        if len(self._crowded_out) == 1:
            self._call_later(LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        crowded_out, self._crowded_out = self._crowded_out, []
        for site in crowded_out:
            site.crowded_out = False
            self._enter_ring(site)
        self._turn()

    def _forget_idle(self) -> None:
        """Forget sites that have nothing to do: those that live first, then the dead, longest due for a probe first."""
        idle = [site for site in self._sites.values() if not site.waiting and not site.window.running]
        idle.sort(key=lambda site: site.window.dead_until)
        for site in idle[: max(0, len(self._sites) - MAX_SITES // 2)]:
            del self._sites[site.name]
        # Where most have something to do, the next look is as far away again: a look costs as much as there are sites.
        self._crowded = max(MAX_SITES, 2 * len(self._sites))

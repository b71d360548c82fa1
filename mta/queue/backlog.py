"""
What waits in the spool for a dead site: for how long, and who calls it when the site answers.

Owns: when a message that is set aside is looked at again, the draws from what waits for a site, and the pace at which a
long queue for dead sites is looked through.
Never: claims, records or plans a message.

A hundred thousand messages may wait for a site that takes twenty a minute, or none. To claim all of them each time it
is asked again would be the whole work of the program. So a few come back soon, one of which asks the site; the others
stay where they are until it answers, and are then drawn as fast as it takes them. Each is looked at in any case when it
has waited about as long as for the longest retry: its domain may have another site by then.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.interfaces import ISpool
from mta.queue.schedule import Schedule
from mta.queue.turns import FIRST_DRAW, SiteQueue
from mta.queue.window import Active, Job

# What comes back soon does so within this share of the wait, in so many steps.
SPREAD, SPREAD_STEPS = 0.1, 20
# What waits longer is looked at on the full minute, and so together with others.
TOGETHER = 60.0
# So many messages come back soon: each may be the probe, and the next ones must be at hand when it is answered.
COME_BACK_SOON = 50
# Messages drawn at once, at most; it doubles while the site takes them.
LARGEST_DRAW = 500
# Seconds until a site that answers is asked for again in the spool, where nothing waited: other workers put it there.
LOOK_AGAIN = 60.0
# While so many messages that were set aside are not on disk, no more are claimed: new mail stands behind them.
ASIDE_AT_ONCE = 250
# While other mail is under way each of them costs it at most a fifth of the time: one takes 0.08 ms (measured).
PAUSE = 0.0003


class Backlog:
    """`fetch` has the queue manager claim what is due."""

    _log = Logger()

    def __init__(
        self, spool: ISpool, schedule: Schedule, clock: IReactorTime, rng: random.Random, fetch: Callable[[], None]
    ) -> None:
        self._spool = spool
        self._schedule = schedule
        self._clock = clock
        self._rng = rng
        self._fetch = fetch
        self._drawing: list[SiteQueue] = []
        self._aside = 0
        self._rest_until = -math.inf

    def put_off(self, site: SiteQueue, job: Job) -> float:
        """When a job of a dead site is looked at again, seconds since 1970; its message may wait for the site."""
        window, active, now = site.window, job.active, self._clock.seconds()
        site.draw = FIRST_DRAW
        if site.soon_until != window.dead_until:
            site.soon, site.soon_until = 0, window.dead_until
        # Spread, so that they do not all come back in the instant of the probe; in steps, so that those of a step are
        # claimed together.
        soon = window.dead_until + self._rng.randrange(SPREAD_STEPS) * window.wait * SPREAD / SPREAD_STEPS
        if len(job.recipients) < len(active.entry.recipients):  # the others of it do not wait for this site
            return soon
        active.waits_for = site.name
        site.looked_at = -math.inf
        if site.soon < COME_BACK_SOON or now >= active.expiry:
            site.soon += 1
            return soon
        notice = self._schedule.notice(active.entry.arrived)
        late = now + self._schedule.longest * self._rng.uniform(0.75, 1.0)
        late = min(late, active.expiry, notice if notice > now else math.inf)
        return max(soon, math.ceil(late / TOGETHER) * TOGETHER)

    def answered(self, site: SiteQueue) -> None:
        """The site has answered: what waits for it may come."""
        now = self._clock.seconds()
        if site.is_drawn or len(site.waiting) * 2 > site.draw or site.looked_at <= now < site.looked_at + LOOK_AGAIN:
            return
        site.is_drawn = True
        woken = self._spool.wake(site.name, now, site.draw)
        woken.addCallbacks(self._woken, self._not_woken, callbackArgs=(site,), errbackArgs=(site,))

    def _woken(self, found: int, site: SiteQueue) -> None:
        if found < site.draw:
            site.looked_at = self._clock.seconds()
        site.draw = min(2 * site.draw, LARGEST_DRAW)
        if found:
            self._drawing.append(site)
            self._fetch()
        else:
            site.is_drawn = False

    def _not_woken(self, fault: Failure, site: SiteQueue) -> None:
        self._log.error("{site}: what waits for it is not at hand: {why}", site=site.name, why=fault.value)
        site.is_drawn, site.looked_at = False, self._clock.seconds()

    # The pace

    def set_aside(self, active: Active) -> None:
        """A message goes back to the spool, with its last job."""
        if not active.is_aside and active.jobs == 1:
            active.is_aside = True
            self._aside += 1

    def recorded(self, active: Active, *, others: bool) -> None:
        """A message has left the window; `others`: attempts are under way."""
        if active.is_aside:
            self._aside -= 1
            if others:
                self._rest_until = max(self._rest_until, self._clock.seconds()) + PAUSE

    def fetched(self) -> None:
        """What was due has been claimed, and what was drawn is among it."""
        for site in self._drawing:
            site.is_drawn = False
        self._drawing.clear()

    @property
    def is_busy(self) -> bool:
        """Whether nothing more should be claimed until what was set aside is on disk."""
        return self._aside >= ASIDE_AT_ONCE

    @property
    def rest_until(self) -> float:
        """Until when other mail has the time, seconds since 1970."""
        return self._rest_until

"""
The places of sites in one process: those in use, and those that idle connections keep.

Owns: what an attempt takes and gives back, so that what is limited are the connections that a site sees.
Never: opens or closes a connection; counts over workers (`Places` does).

Without it a worker's idle connections would come on top of what the others have under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from mta.policy.counts import Places

# Seconds until it is looked again whether another worker waits for what idle connections keep.
LOOK_AGAIN = 0.05


class Idle(Protocol):
    """The idle connections: `mta.delivery.pool.ConnectionPool`."""

    def left_open(self, site: str) -> int:
        """How many connections to a site are open and in no attempt's use."""

    def release(self, site: str) -> None:
        """Close those of a site that are idle."""


class KeptPlaces:
    """`places` are those over all workers; `call_later` is a clock's."""

    def __init__(self, places: Places, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        self._places = places
        self._call_later = call_later
        self._idle: Idle | None = None
        self._held: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._kept: set[str] = set()
        self._looking = False

    def kept_by(self, idle: Idle) -> None:
        """Whose connections keep places; `settle` is called for a site when one of them is closed."""
        self._idle = idle

    def take(self, site: str, limit: int) -> bool:
        """A place for an attempt: one that an idle connection keeps, which it will use, else a new one."""
        if self._held[site] <= self._used[site]:
            if not self._places.take(site, limit):
                return False
            self._held[site] += 1
        self._used[site] += 1
        return True

    def leave(self, site: str) -> None:
        """An attempt has ended; its connection may be idle now, and keeps the place."""
        self._used[site] -= 1
        self.settle(site)

    def settle(self, site: str) -> None:
        """Give back the places that neither an attempt nor an idle connection has any more."""
        needed = self._used[site] + (self._idle.left_open(site) if self._idle else 0)
        while self._held[site] > needed:
            self._held[site] -= 1
            self._places.leave(site)
        if self._held[site] > self._used[site]:
            self._kept.add(site)
            self._look_later()
        else:
            self._kept.discard(site)
            if not self._held[site]:
                del self._held[site], self._used[site]

    def wait(self, site: str) -> None:
        """As `Places.wait`."""
        self._places.wait(site)

    def _look_later(self) -> None:
        if not self._looking and self._places.has_rivals:
            self._looking = True
            self._call_later(LOOK_AGAIN, self._look)

    def _look(self) -> None:
        self._looking = False
        for site in tuple(self._kept):
            if self._idle is not None and self._places.wanted(site):
                self._idle.release(site)
        if self._kept:
            self._look_later()

"""
Limit how many reports one address gets.

Owns: the counts, and how many addresses are remembered.
Never: reads a clock, makes a report.

Who sends in the name of another makes us send him reports: a limit for each address keeps that from being a weapon.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from mta.address import Address

# Addresses remembered; the longest silent is forgotten. A flood of new ones costs a few megabytes.
MAX_ADDRESSES = 20_000

_HOUR = 3600.0


@dataclass(slots=True)
class _Count:
    """Reports in the hour that began at `since`, and in the one before."""

    since: float
    count: int = 0
    before: int = 0

    def turn_to(self, now: float) -> None:
        hours = int((now - self.since) // _HOUR)
        # A clock that was set back starts a new hour as well.
        if hours:
            self.before = self.count if hours == 1 else 0
            self.count = 0
            self.since = self.since + _HOUR if hours == 1 else now

    def in_last_hour(self, now: float) -> float:
        """An estimate from two counts: exact where the hour before was silent, and even in its share otherwise."""
        return self.count + self.before * (1 - (now - self.since) / _HOUR)


class ReportRate:
    """At most `per_hour` reports an hour for each address; 0 is no limit."""

    def __init__(self, per_hour: int) -> None:
        self.per_hour = per_hour
        self._counts: OrderedDict[Address, _Count] = OrderedDict()

    def has_room(self, address: Address, now: float) -> bool:
        """Whether `admit` would say yes; nothing is counted."""
        count = self._counts.get(address)
        if count is None:
            return True
        count.turn_to(now)
        return not self.per_hour or count.in_last_hour(now) < self.per_hour

    def admit(self, address: Address, now: float) -> bool:
        """Whether one more report to `address` may go out at `now` (seconds); if so it counts."""
        if not self.per_hour:
            return True
        count = self._counts.get(address)
        if count is None:
            if len(self._counts) >= MAX_ADDRESSES:
                self._counts.popitem(last=False)
            count = self._counts[address] = _Count(now)
        else:
            self._counts.move_to_end(address)
            count.turn_to(now)
        if count.in_last_hour(now) >= self.per_hour:
            return False
        count.count += 1
        return True

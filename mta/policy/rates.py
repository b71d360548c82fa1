"""
Count what each client does in a minute, or in another period.

Owns: an estimate of a sliding period for many clients, in bounded memory.
Never: reads a clock, knows what is counted.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# Clients remembered. Who owns many networks can't fill our memory; the longest silent is forgotten.
MAX_CLIENTS = 20_000

MINUTE = 60.0


@dataclass(slots=True)
class _Rate:
    """Counts of one client: in the period that began at `since`, and in the one before."""

    since: float
    count: int = 0
    before: int = 0

    def turn_to(self, now: float, period: float) -> None:
        minutes = int((now - self.since) // period)
        # A clock that was set back starts a new minute as well.
        if minutes:
            self.before = self.count if minutes == 1 else 0
            self.count = 0
            self.since = self.since + period if minutes == 1 else now

    def in_last(self, now: float, period: float) -> float:
        """An estimate from two counts: exact where the minute before was silent, and even in its share otherwise."""
        return self.count + self.before * (1 - (now - self.since) / period)


class Rates:
    """Who did how much of one thing; `limit` in a `period` (seconds) for each client, 0 for any number."""

    def __init__(self, limit: int, period: float = MINUTE) -> None:
        self.limit = limit
        self.period = period
        self._clients: OrderedDict[str, _Rate] = OrderedDict()

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._clients)

    def take(self, client: str, count: int, now: float) -> bool:
        """Count `count` more of a client at `now` (seconds) where they are within the limit; whether they are."""
        if not self.has_room(client, count, now):
            return False
        if self.limit:
            self._rate(client, now).count += count
        return True

    def has_room(self, client: str, count: int, now: float) -> bool:
        """Whether `take` would say yes."""
        # A client at rest has room for one more as soon as the estimate has fallen below the limit.
        return not self.limit or self._rate(client, now).in_last(now, self.period) + count - 1 < self.limit

    def _rate(self, client: str, now: float) -> _Rate:
        """The rate of a client, brought up to `now`; the order of the dictionary is that of who was seen last."""
        rate = self._clients.get(client)
        if rate is None:
            if len(self._clients) >= MAX_CLIENTS:
                self._clients.popitem(last=False)
            rate = self._clients[client] = _Rate(now)
        else:
            self._clients.move_to_end(client)
            rate.turn_to(now, self.period)
        return rate

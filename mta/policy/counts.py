"""
Count what is limited: who holds how many places, and what each did in the last minute, or another period.

Owns: the contract of both counts, and the counts of a single process.
Never: knows what is counted, reads a clock.

Where several workers share the limits, `mta/policy/shared_counts.py` takes the place of `LocalCounts`.
"""

from __future__ import annotations

from typing import Protocol

from mta.policy.rates import MINUTE, Rates

# Kinds of places and of rates, each a name space of its own.
TOTAL, CLIENTS, SITES = "total", "clients", "sites"
CONNECTING, MESSAGES, RECIPIENTS, TURNING = "connecting", "messages", "recipients", "turning"


class Places(Protocol):
    """
    Places of one kind: each key has as many as the one that asks says.

    `has_rivals` says whether there are other workers.
    """

    has_rivals: bool

    def take(self, key: str, limit: int) -> bool:
        """Take one of the `limit` places of a key, over all workers; whether there was one."""

    def leave(self, key: str) -> None:
        """Give back one that this process took."""

    def wait(self, key: str) -> None:
        """Say that this process waits for a place and will ask again within a second: others let it have its share."""

    def wanted(self, key: str) -> bool:
        """Whether another worker waits for a place."""

    def taken(self, key: str) -> int:
        """How many are taken, over all workers."""


class Paced(Protocol):
    """What clients do in a period: `mta.policy.rates.Rates`."""

    def take(self, client: str, count: int, now: float) -> bool: ...

    def has_room(self, client: str, count: int, now: float) -> bool: ...


class Counts(Protocol):
    """All that is counted. The same kind gives the same counts each time it is asked for."""

    def places(self, kind: str) -> Places: ...

    def rates(self, kind: str, limit: int, period: float = MINUTE) -> Paced:
        """`limit` in a period (seconds) from now on, 0 for any number."""


class LocalPlaces:
    """The places of a single process."""

    has_rivals = False

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        """How many keys have a place taken."""
        return len(self._taken)

    def take(self, key: str, limit: int) -> bool:
        taken = self._taken.get(key, 0)
        if taken >= limit:
            return False
        self._taken[key] = taken + 1
        return True

    def leave(self, key: str) -> None:
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]

    def wait(self, key: str) -> None:
        """There is nobody to let us go first."""

    def wanted(self, key: str) -> bool:  # noqa: ARG002
        return False

    def taken(self, key: str) -> int:
        return self._taken.get(key, 0)


class LocalCounts:
    """The counts of a single process; they outlive what a new configuration replaces."""

    def __init__(self) -> None:
        self._places: dict[str, LocalPlaces] = {}
        self._rates: dict[str, Rates] = {}

    def places(self, kind: str) -> LocalPlaces:
        return self._places.setdefault(kind, LocalPlaces())

    def rates(self, kind: str, limit: int, period: float = MINUTE) -> Rates:
        rates = self._rates.setdefault(kind, Rates(limit))
        rates.limit, rates.period = limit, period
        return rates

"""
Remember what a table said.

Owns: for how long an entry, the absence of one, and a trouble count; how many are kept; one question for all who want
the same key at once.
Never: keeps a trouble for longer than a moment.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.interfaces import ITable
from mta.table import CouldNotAsk, Found

# Seconds. A table that is down is not asked by each of a thousand sessions.
TROUBLE_TTL = 1.0


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """`ttl` of entries and `negative_ttl` of their absence in seconds, `size` in keys."""

    ttl: float = 300.0
    negative_ttl: float = 30.0
    size: int = 10_000


@implementer(ITable)
class CachedTable:
    """A table in front of another."""

    def __init__(self, table: ITable, clock: IReactorTime, limits: CacheLimits) -> None:
        self._table = table
        self._clock = clock
        self._limits = limits
        self._known: OrderedDict[str, tuple[float, Found]] = OrderedDict()
        self._asked: dict[str, list[Deferred[Found]]] = {}

    def lookup(self, key: str) -> Found | Deferred[Found]:
        known = self._known.get(key)
        if known is not None:
            until, found = known
            if self._clock.seconds() < until:
                self._known.move_to_end(key)
                return found
            del self._known[key]
        waiting: Deferred[Found] = Deferred()
        if key in self._asked:
            self._asked[key].append(waiting)
            return waiting
        answer = self._table.lookup(key)
        if not isinstance(answer, Deferred):
            return self._remember(key, answer)
        self._asked[key] = [waiting]
        answer.addCallback(self._answered, key)
        return waiting

    def close(self) -> None:
        self._table.close()

    def _answered(self, found: Found, key: str) -> None:
        self._remember(key, found)
        for waiting in self._asked.pop(key):
            waiting.callback(found)

    def _remember(self, key: str, found: Found) -> Found:
        limits = self._limits
        ttl = limits.negative_ttl if found is None else limits.ttl
        if isinstance(found, CouldNotAsk):
            ttl = TROUBLE_TTL
        if ttl > 0 and limits.size > 0:
            self._known[key] = (self._clock.seconds() + ttl, found)
            if len(self._known) > limits.size:
                self._known.popitem(last=False)
        return found

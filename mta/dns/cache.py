"""
Remember values for a time.

Owns: expiry on the injected clock, and the bound: the value that was not used for longest goes first.
Never: knows what it holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """At most `size` values; `clock` tells when each has expired."""

    def __init__(self, clock: IReactorTime, size: int) -> None:
        self._clock = clock
        self._size = size
        self._held: OrderedDict[Key, tuple[Value, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: Key, value: Value, ttl: float) -> None:
        """Hold `value` for `ttl` seconds; not at all where that is zero or less."""
        self._held.pop(key, None)
        if ttl <= 0 or self._size < 1:
            return
        self._held[key] = (value, self._clock.seconds() + ttl)
        if len(self._held) > self._size:
            self._held.popitem(last=False)

    def get(self, key: Key) -> Value | None:
        """The value, or None where there is none or it has expired."""
        found = self.with_life(key)
        return None if found is None else found[0]

    def with_life(self, key: Key) -> tuple[Value, float] | None:
        """The value and the seconds that it has left, more than zero; or None."""
        found = self._held.get(key)
        if found is None:
            return None
        value, expires = found
        left = expires - self._clock.seconds()
        if left <= 0:
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return value, left

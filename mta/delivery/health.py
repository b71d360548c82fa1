"""
Which addresses did not answer lately.

Owns: the dead mark of an address, from one source: 60 s after a failed connection, doubling up to an hour.
Never: forbids anything. A marked address is tried after all others, so that a dead first MX does not cost every message
a connect timeout; whether a whole site is left alone is the queue manager's matter (`mta/queue/sites.py`).
"""

from __future__ import annotations

from collections import OrderedDict

# Addresses remembered; the one whose mark is oldest goes first.
MAX_ADDRESSES = 10_000


class Health:
    """`initial` and `longest` are the first and the longest mark, in seconds (`queue.dead_initial`, `dead_maximum`)."""

    def __init__(self, initial: float, longest: float) -> None:
        self._initial = initial
        self._longest = longest
        self._marks: OrderedDict[tuple[str, int], tuple[float, float]] = OrderedDict()  # until, and for how long

    def is_dead(self, address: str, port: int, now: float) -> bool:
        """Whether it failed so lately that others come first; `now` in seconds."""
        until, wait = self._marks.get((address, port), (now, 0.0))
        # The lower bound: a clock set back must not lengthen the mark.
        return until - wait <= now < until

    def failed(self, address: str, port: int, now: float) -> None:
        """A connection to it could not be made."""
        if self.is_dead(address, port, now):  # one of several that were under way when the mark was made
            return
        _until, wait = self._marks.pop((address, port), (0.0, 0.0))
        wait = min(wait * 2 or self._initial, self._longest)
        self._marks[address, port] = (now + wait, wait)
        if len(self._marks) > MAX_ADDRESSES:
            self._marks.popitem(last=False)

    def answered(self, address: str, port: int) -> None:
        """It took a connection."""
        self._marks.pop((address, port), None)

"""
Queue ids: one integer a message, and the short text that people see of it.

Owns: the layout of the integer and its spelling.
Never: reads a clock; the caller gives the time.

Layout, from the top: 42 bits of milliseconds since 1970 (lasts until 2109), 14 bits of sequence, 7 bits of worker. Ids
of one worker only grow, so they sort by arrival, also when the clock is set back.
"""

from __future__ import annotations

_WORKER_BITS = 7
_SEQUENCE_BITS = 14
_SHIFT = _WORKER_BITS + _SEQUENCE_BITS
MAX_WORKER = (1 << _WORKER_BITS) - 1

# Crockford's base 32: no I, L, O or U, so an id survives being read aloud and case does not matter.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_LENGTH = 13  # 13 * 5 = 65 bits


def spell(queue_id: int) -> str:
    """The text of an id: 13 characters of base 32, sorting as the integers do."""
    # Two characters a step, for each line of the log has one: 2.2 -> 0.6 us.
    high, low = queue_id >> 30, queue_id
    return (
        f"{_ALPHABET[high >> 30]}{_PAIRS[high >> 20 & 1023]}{_PAIRS[high >> 10 & 1023]}{_PAIRS[high & 1023]}"
        f"{_PAIRS[low >> 20 & 1023]}{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}"
    )


def parse_id(text: str) -> int:
    """The integer of a spelled id. Raises ValueError naming the text."""
    try:
        if len(text) != _LENGTH:
            raise KeyError
        value = 0
        for character in text.upper():
            value = value << 5 | _VALUES[character]
    except KeyError:
        raise ValueError(f"{text!r} is not a queue id (13 characters of 0-9 A-Z without I, L, O, U)") from None
    if value >= 1 << 63:  # SQLite's integers are signed
        raise ValueError(f"{text!r} is not a queue id (too large)")
    return value


def worker_of(queue_id: int) -> int:
    """Which worker made an id."""
    return queue_id & MAX_WORKER


class QueueIds:
    """Makes the ids of one worker, each larger than all before it, also than `above`: the largest in the spool."""

    def __init__(self, worker: int = 0, above: int = 0) -> None:
        if not 0 <= worker <= MAX_WORKER:
            raise ValueError(f"worker {worker} is not within 0 to {MAX_WORKER}")
        self._worker = worker
        self._last = above >> _WORKER_BITS

    def next(self, now: float) -> int:
        """A new id; `now` in seconds since 1970."""
        self._last = max(self._last + 1, int(now * 1000) << _SEQUENCE_BITS)
        return self._last << _WORKER_BITS | self._worker

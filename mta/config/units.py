"""
Read durations and sizes as people write them.

Owns: the grammar of "1h30m" and "50MiB".
Never: knows which option it reads for.
Fails: ValueError, whose text names the value and shows how to write it.
"""

from __future__ import annotations

import re
from decimal import Decimal

# Seconds of each unit, longest first: the order in which they must stand in a duration.
_SECONDS = {
    "w": Decimal(604_800),
    "d": Decimal(86_400),
    "h": Decimal(3_600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_AMOUNT = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_DURATION = re.compile("".join(rf"(?:({_AMOUNT}){unit})?" for unit in _SECONDS), re.ASCII)
# Ten years. A time further away is a slip of the keyboard, and must not overflow a date that is printed.
_LONGEST = 3_650 * 86_400

_OCTETS = {
    "": 1,
    "b": 1,
    "kb": 1_000,
    "mb": 1_000_000,
    "gb": 1_000_000_000,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}
# A pebibyte: beyond it the number of octets no longer fits where it has to be stored.
_LARGEST = 1 << 50
_SIZE = re.compile(r"([0-9]{1,15}) ?([A-Za-z]{0,3})", re.ASCII)


def parse_duration(value: object) -> float:
    """
    Seconds from text such as "90s", "5m", "1h30m", "0.5s", "5d": units w, d, h, m, s and ms, longest first.

    A bare number is refused: whether 5 means seconds or minutes would be a guess.
    """
    if not isinstance(value, str):
        raise ValueError(f'must be a duration in quotes with its unit, such as "30s" or "5m", not {value!r}')
    found = _DURATION.fullmatch(value)
    if not found or not value:
        raise ValueError(f'"{value}" is not a duration; write it as "90s", "5m", "1h30m" or "5d"')
    amounts = zip(found.groups(), _SECONDS.values(), strict=True)
    seconds = float(sum(Decimal(amount) * unit for amount, unit in amounts if amount))
    if seconds > _LONGEST:
        raise ValueError(f'"{value}" is longer than ten years')
    return seconds


def parse_size(value: object) -> int:
    """Octets from a plain integer or from text such as "64KiB" (1024 octets each), "10MB" (1000 * 1000), "512B"."""
    if isinstance(value, int) and not isinstance(value, bool):
        octets = value
    elif isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if not found or found[2].lower() not in _OCTETS:
            raise ValueError(f'"{value}" is not a size; write it as 50000, "64KiB", "50MiB" or "10MB"')
        octets = int(found[1]) * _OCTETS[found[2].lower()]
    else:
        raise ValueError(f'must be a size: a number of octets, or text such as "50MiB", not {value!r}')
    if not 0 <= octets <= _LARGEST:
        raise ValueError("must be a size from 0 to 1 PiB")
    return octets

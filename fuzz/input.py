"""
Make of a fuzzer's bytes what a target wants.

Owns: the options in front of an input, how input is cut into pieces, how a short input stands for a long one.
Never: chance of its own: the same bytes always mean the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

# How long a stretched text gets: enough for quadratic time to be seen.
STRETCHED = 32 * 1024
# The longest text that is also cut into single octets, and how many pieces a longer one is cut into at most, or so.
SINGLE_OCTETS = 512
PIECES = 300


def options(data: bytes) -> tuple[int, bytes]:
    """The first octet, whose bits are options, and the rest."""
    return (data[0], data[1:]) if data else (0, b"")


def text(data: bytes) -> bytes:
    """
    The text that an input stands for.

    Behind a first octet below 0xf0 it stands as it is. Behind another one the next two say where in the rest a unit
    begins and how long it is, and the unit is repeated until the text has `STRETCHED` octets: what takes quadratic time
    needs a second then.
    """
    first, rest = options(data)
    if first < 0xF0 or len(rest) < 3:
        return rest
    begin, length, rest = rest[0], rest[1], rest[2:]
    unit = rest[begin : begin + length]
    if not unit:
        return rest
    repeated = unit * ((STRETCHED - len(rest)) // len(unit))
    return rest[:begin] + repeated + rest[begin + length :]


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    """`data` in pieces; the same ones for the same seed. Small and large ones, for limits lie at both."""
    chance = random.Random(seed)
    longest = max(chance.choice((2, 5, 50, 1000, len(data) + 1)), 2 * len(data) // PIECES)
    at = 0
    while at < len(data):
        size = chance.randint(1, longest)
        yield data[at : at + size]
        at += size


def segmentations(data: bytes, seed: int) -> Iterator[list[bytes]]:
    """Several ways to cut the same data: single octets where it is short, and three others."""
    if len(data) <= SINGLE_OCTETS:
        yield [data[at : at + 1] for at in range(len(data))]
    for number in range(3):
        yield list(cut(data, seed * 3 + number))

"""
Read several next hops of one route: in order, or by weight.

Owns: which next hops may stand in one list, and ``?weight=N``.
Never: knows how one next hop is written (`mta/routing/next_hops.py`), or chooses one (`mta/delivery/`).
Fails: ValueError, whose text says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mta.destination import Host, NextHop, Transport
from mta.routing.next_hops import parse_next_hop

# An attempt tries 20 addresses at most (`mta/delivery/attempt.py`).
MAX_NEXT_HOPS = 10
MAX_WEIGHT = 1000
_LISTED = (Transport.SMTP, Transport.SMTPS, Transport.LMTP)
_WEIGHT = "?weight="


def parse_next_hops(texts: Sequence[str]) -> NextHop:
    """
    The next hops of a list as one value: the first, with the `others`.

    They are tried in this order. With ``smtp://host?weight=3`` at each of them, which one comes first is chance, in
    proportion to the weights; 0 is for those that are tried after all others.
    """
    if not texts:
        raise ValueError("must not be empty")
    if len(texts) > MAX_NEXT_HOPS:
        raise ValueError(f"has {len(texts)} next hops, of at most {MAX_NEXT_HOPS}")
    hops = [_weighted(text) for text in texts]
    if len(hops) == 1 and hops[0].weight is not None:
        raise ValueError(f'"{texts[0]}" has a weight, and there is no other next hop')
    for number, hop in enumerate(hops):
        if len(hops) > 1 and hop.transport not in _LISTED:
            raise ValueError(f'"{hop}" has no place beside others; {_schemes()} have')
        if hop.transport is not hops[0].transport:
            raise ValueError(f'"{hop}" stands beside "{hops[0]}"; the next hops of a route have one scheme')
        if any((hop.target, hop.port) == (other.target, other.port) for other in hops[:number]):
            raise ValueError(f'"{texts[number]}" is there twice')
        if (hop.weight is None) != (hops[0].weight is None):
            bare = texts[number] if hop.weight is None else texts[0]
            raise ValueError(f'"{bare}" has no weight, and others have: give one to each, or to none')
    if len(hops) > 1 and all(hop.weight == 0 for hop in hops):
        raise ValueError("has no weight above 0")
    return replace(hops[0], others=tuple(hops[1:]))


def hosts_of(next_hop: NextHop) -> tuple[Host, ...]:
    """
    The hosts of the next hops that are reached over TCP, as if they were those of a domain.

    In order they have preferences that rise. By weight they share one, but for those of weight 0, which come last.
    """
    if next_hop.transport not in _LISTED:
        return ()
    hosts = [
        Host(hop.target, hop.port, number)
        if hop.weight is None
        else Host(hop.target, hop.port, 0 if hop.weight else 1, hop.weight or 1)
        for number, hop in enumerate(next_hop.each)
    ]
    return tuple(sorted(hosts, key=lambda host: host.preference))


def _weighted(text: str) -> NextHop:
    place, mark, digits = text.partition(_WEIGHT)
    if not mark:
        return parse_next_hop(text)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 4 and int(digits) <= MAX_WEIGHT):
        raise ValueError(f'"{text}" must have a weight from 0 to {MAX_WEIGHT}')
    hop = parse_next_hop(place)
    if hop.transport not in _LISTED:
        raise ValueError(f'"{text}": a weight is for {_schemes()}')
    return replace(hop, weight=int(digits))


def _schemes() -> str:
    *most, last = (f"{transport.value}://" for transport in _LISTED)
    return f"{', '.join(most)} and {last}"

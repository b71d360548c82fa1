"""
Find the IP addresses of a mail host and put them in the order of trying.

Owns: which addresses are tried, and in which order (RFC 5321 5.1).
Never: connects; asks other than through `IResolver`.
Fails: never; a host without addresses is a `Deferral`.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Iterator
from itertools import chain, groupby, zip_longest
from typing import Literal

from twisted.internet.defer import gatherResults

from mta.destination import Host
from mta.interfaces import IResolver
from mta.lookup import Answer, Status
from mta.outcome import Deferral, Phase, Scope

Preference = Literal["any", "ipv4", "ipv6"]

# A host with many addresses gets a fair trial, and not our whole afternoon (Postfix: smtp_mx_address_limit 5).
ADDRESSES_PER_HOST = 5


def in_trying_order(hosts: Iterable[Host], rng: random.Random) -> Iterator[Host]:
    """
    The hosts by preference; RFC 5321 5.1: those of equal preference in random order, to spread the load.

    Where they have weights, each comes first in proportion to its own among those that are left (RFC 2782).
    """
    for _, group in groupby(hosts, key=lambda host: host.preference):
        members = list(group)
        if any(host.weight != members[0].weight for host in members):
            # Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006: the same order of draws.
            yield from sorted(members, key=lambda host: rng.random() ** (1 / host.weight), reverse=True)
        else:
            rng.shuffle(members)
            yield from members


def balanced(first: list[str], second: list[str], limit: int) -> list[str]:
    """Up to `limit` addresses, in turn from both lists: a family that is broken on our side must not take all tries."""
    turns = chain.from_iterable(zip_longest(first, second))
    return [address for address in turns if address is not None][:limit]


async def addresses_of(
    host: Host, resolver: IResolver, rng: random.Random, preference: Preference = "any"
) -> list[str] | Deferral:
    """
    The addresses of `host` to try, at least one, or why there is none.

    The families take turns; which of them begins is `preference`, or chance.
    """
    literal = _as_address(host.name)
    if literal is not None:
        return [literal]
    answers = await gatherResults([resolver.lookup(host.name, "A"), resolver.lookup(host.name, "AAAA")])
    families = [_addresses_in(answer) for answer in answers]
    for family in families:
        rng.shuffle(family)
    if preference == "any":
        rng.shuffle(families)
    elif preference == "ipv6":
        families.reverse()
    found = balanced(families[0], families[1], ADDRESSES_PER_HOST)
    return found or _nowhere(host, answers)


def _addresses_in(answer: Answer) -> list[str]:
    """The addresses of an answer that are ones."""
    texts = answer.records if answer.status is Status.ANSWER else ()
    return [address for text in texts if isinstance(text, str) and (address := _as_address(text)) is not None]


def _as_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _nowhere(host: Host, answers: list[Answer]) -> Deferral:
    """Why `host` can't be reached. Never a failure: the domain exists, and its administrator may mend the name."""
    for answer in answers:
        if answer.status is Status.COULD_NOT_ASK:
            reason = f"cannot look up {host.name}: {answer.reason}"
            return Deferral(reason, Phase.DNS, Scope.OURSELVES, host.name, enhanced="4.4.3")
    reason = "; ".join(dict.fromkeys(answer.reason for answer in answers if answer.reason))
    words = f"mail host {host.name} has no address" + (f": {reason}" if reason else "")
    return Deferral(words, Phase.DNS, Scope.SITE, host.name, enhanced="4.4.4")

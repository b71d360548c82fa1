"""
Turn a next hop into a destination: the hosts and their site.

Owns: which questions an MX lookup takes, and the memory of what they led to, for as long as the answers hold.
Never: decides what the answers mean (`mta/routing/mx.py`), or looks up the addresses of the hosts: that is done by
the delivery agent, when it connects.
Fails: never; without hosts there is a `Deferral` or a `Failure`.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.destination import Destination, NextHop, Transport
from mta.dns.cache import Cache
from mta.interfaces import IDestinations, IResolver
from mta.lookup import Answer
from mta.outcome import Deferral, Failure
from mta.routing.mx import hosts_from, literal_hosts, needs_addresses
from mta.routing.next_hop_lists import hosts_of
from mta.routing.site import site_name, site_of

Located = Destination | Deferral | Failure


@implementer(IDestinations)
class Destinations:
    """
    Locates next hops; what is remembered comes back at once, without a Deferred.

    `own_names` are the names under which other hosts know us (RFC 5321 5.1: mail is not handed to ourselves); `size`
    bounds the number of domains remembered.
    """

    def __init__(
        self, *, resolver: IResolver, clock: IReactorTime, own_names: Iterable[str], size: int = 10_000
    ) -> None:
        self._resolver = resolver
        self._own_names = frozenset(name.lower().removesuffix(".") for name in own_names)
        self._fixed: dict[NextHop, Destination] = {}  # bounded by the configuration: these come from its routes
        self._by_domain: Cache[tuple[str, str], Located] = Cache(clock, size)

    def locate(self, next_hop: NextHop, domain: str) -> Located | Deferred[Located]:
        if next_hop.transport is not Transport.MX:
            return self._fixed.get(next_hop) or self._fix(next_hop)
        name = next_hop.target or domain
        remembered = self._by_domain.get((next_hop.target, name))
        if remembered is not None:
            return remembered
        hosts = literal_hosts(name)
        if hosts is not None:
            return Destination(next_hop, site_name(hosts), hosts)
        return Deferred.fromCoroutine(self._look_up(next_hop, name))

    def _fix(self, next_hop: NextHop) -> Destination:
        """The destination that needs no DNS."""
        destination = self._fixed[next_hop] = Destination(next_hop, site_of(next_hop), hosts_of(next_hop))
        return destination

    async def _look_up(self, next_hop: NextHop, domain: str) -> Located:
        mx = await self._resolver.lookup(domain, "MX")
        addresses: list[Answer] = []
        if needs_addresses(mx):
            addresses = await gatherResults([self._resolver.lookup(domain, kind) for kind in ("A", "AAAA")])
        hosts = hosts_from(domain, mx, addresses, self._own_names)
        located = hosts if isinstance(hosts, Deferral | Failure) else Destination(next_hop, site_name(hosts), hosts)
        # It holds as long as every answer behind it does; an answer with TTL 0 is used once (RFC 1035 3.2.1).
        self._by_domain.put((next_hop.target, domain), located, min(answer.ttl for answer in (mx, *addresses)))
        return located

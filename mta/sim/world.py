"""
The world around us: remote sites, their hosts on the network, and the DNS that leads to them.

Owns: which domain is at which site, the addresses of hosts, and the answers of the DNS.
Never: knows our own program.

The addresses are those that RFC 2544 sets aside for benchmarks: 198.18.0.0/15.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.dns.fake import FakeResolver
from mta.dns.question import could_not_ask
from mta.interfaces import IResolver
from mta.lookup import MX, Answer
from mta.sim.clock import SimulatedClock
from mta.sim.ledger import Ledger
from mta.sim.machine import Machine
from mta.sim.network import Network, pieces
from mta.sim.remote_server import RemoteFactory
from mta.sim.scenario import Names, Scenario, Site
from mta.sim.site import RemoteSite
from mta.sim.wire import uncut

# Our own address in the world.
OURS = "198.18.0.1"
# Seconds until the DNS answers, and until a server that fails has said so.
DNS_LATENCY = 0.02
DNS_FAILURE = 10.0


class World:
    """
    The world of `scenario`, with the time, the network and chance that all in it share.

    `start` is when it begins, in seconds since 1970.
    """

    def __init__(self, scenario: Scenario, start: float) -> None:
        self.scenario = scenario
        self.start = start
        self.clock = SimulatedClock(start)
        self.rng = random.Random(scenario.seed)
        self.ledger = Ledger()
        self.network = Network(self._is_silent, self._is_refusing, pieces(self.rng) if scenario.cuts else uncut)
        self.zones = FakeResolver()
        self.resolver_fails = False
        self._addresses = _addresses()
        self._silent: dict[str, RemoteSite] = {}  # by address
        self._sites: dict[str, RemoteSite] = {}
        self._domains: dict[str, RemoteSite] = {}
        self._machine = Machine(self.clock, self.network, "")  # of all the others: it never dies
        for site in scenario.sites:
            self._settle(site.name, site.domains, site)
        for domain in scenario.names.null_mx:
            self.zones.set(domain, "MX", [MX(0, "")])

    @property
    def names(self) -> Names:
        return self.scenario.names

    def sites(self) -> list[RemoteSite]:
        """All sites, in the order in which they came up."""
        return list(self._sites.values())

    def site_of(self, domain: str) -> RemoteSite | None:
        """The site that takes mail for a domain; None where no site does."""
        known = self._domains.get(domain)
        names = self.names
        if known is not None or names.others == "nxdomain" or domain in (*names.nxdomain, *names.null_mx):
            return known
        return self._settle(domain, (domain,), None)

    def resolver(self, machine: Machine) -> IResolver:
        """The DNS as a program on `machine` sees it."""
        return WorldResolver(self, machine)

    def listen_at_socket(self, path: str, name: str) -> None:
        """Let a healthy site listen at the UNIX socket that a route points to; `name` is its name in the report."""
        if self.network.at((path, 0)) is None:
            site = self._sites[name] = RemoteSite(name, (), self._machine, self.rng, self.ledger, self.start)
            self.network.listen((path, 0), self._machine, RemoteFactory(site, name), _nobody_minds)

    def listen_at(self, endpoint: str) -> None:
        """Let a healthy site listen where a route points to, unless somebody does already."""
        host, _, port = endpoint.rpartition(":")
        if self._host_address(host) is None or self.network.at((self._host_address(host) or host, int(port))) is None:
            site = RemoteSite(endpoint, (), self._machine, self.rng, self.ledger, self.start)
            self._sites[endpoint] = site
            self._listen(site, endpoint)

    def _settle(self, name: str, domains: tuple[str, ...], site: Site | None) -> RemoteSite:
        """A new site, with its hosts and the records that lead to them."""
        hosts = site.hosts if site else 1
        addresses = [next(self._addresses) for _ in range(hosts)]
        settled = RemoteSite(name, addresses, self._machine, self.rng, self.ledger, self.start, site)
        self._sites[name] = settled
        base = domains[0] if domains else f"{name}.test"
        records = []
        for number, address in enumerate(addresses, 1):
            host = f"mx{number}.{base}"
            records.append(MX(10, host))
            self.zones.set(host, "A", [address])
            self._silent[address] = settled
            self.network.listen((address, 25), self._machine, RemoteFactory(settled, host), _nobody_minds)
        for domain in domains:
            self._domains[domain] = settled
            self.zones.set(domain, "MX", records)
        for endpoint in site.endpoints if site else ():
            self._listen(settled, endpoint)
        return settled

    def _listen(self, site: RemoteSite, endpoint: str) -> None:
        """Let a site listen at ``HOST:PORT`` as well."""
        host, _, port = endpoint.rpartition(":")
        address = self._host_address(host)
        if address is None:
            address = next(self._addresses)
            self.zones.set(host, "A", [address])
        self._silent.setdefault(address, site)
        self.network.listen((address, int(port)), self._machine, RemoteFactory(site, host), _nobody_minds)

    def _host_address(self, host: str) -> str | None:
        """The address of a host that routes name."""
        host = host.strip("[]")
        if host.replace(".", "").isdigit() or ":" in host:
            return host
        found: list[Answer] = []
        self.zones.lookup(host, "A").addCallback(found.append)
        return str(found[0].records[0]) if found and found[0].records else None

    def _is_silent(self, address: str) -> bool:
        site = self._silent.get(address)
        return site is not None and site.is_silent

    def _is_refusing(self, address: str) -> bool:
        site = self._silent.get(address)
        return site is not None and site.behaviour.state == "refusing"


@implementer(IResolver)
class WorldResolver:
    """Asks the DNS of a world, from one machine."""

    def __init__(self, world: World, machine: Machine) -> None:
        self._world = world
        self._machine = machine

    def lookup(self, name: str, kind: str) -> Deferred[Answer]:
        world = self._world
        fails = world.resolver_fails or any(name == each or name.endswith(f".{each}") for each in world.names.failing)
        if fails:
            return self._after(DNS_FAILURE, succeed(could_not_ask("the server failed (SERVFAIL)")))
        if kind == "MX":
            world.site_of(name)  # which makes its records, where it is new
        return self._after(DNS_LATENCY, world.zones.lookup(name, kind))

    def _after(self, seconds: float, answer: Deferred[Answer]) -> Deferred[Answer]:
        later: Deferred[Answer] = Deferred()
        self._machine.callLater(seconds, answer.chainDeferred, later)
        return later


def _addresses() -> Iterator[str]:
    """The addresses of the hosts of the world, in order; ours is the first one, and not among them."""
    for number in range(2, 1 << 17):
        yield f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def _nobody_minds(_end: object) -> None:
    """The hosts of the world do not crash, so nobody has to know their connections."""

"""The resolver over real sockets, against the stub server on loopback. The only tests here with the real reactor."""

from __future__ import annotations

import random
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from mta.dns.cache import Cache
from mta.dns.exchange import IReactorDNS, Server
from mta.dns.question import Question
from mta.dns.resolver import Resolver
from mta.lookup import MX, Answer, Status
from tests.contracts.resolvers import ZONES, ResolverContract
from tests.peers.dns_server import DNSServer, Entry, Fault, Zones, free_port

# The reactor is many interfaces in one object, and no type says so.
REACTOR = cast(Any, reactor)


class LoopbackCase(TestCase):
    """Starts servers and resolvers, and stops them."""

    def server(self, zones: Zones) -> DNSServer:
        server = DNSServer(zones)
        server.start()
        self.addCleanup(server.stop)
        return server

    def resolver(self, *servers: Server, timeout: float = 0.5) -> Resolver:
        resolver = Resolver(
            reactor=cast(IReactorDNS, REACTOR),
            servers=servers,
            timeout=timeout,
            attempts=2,
            rng=random.SystemRandom(),
            cache=Cache[Question, Answer](cast(IReactorTime, REACTOR), 1000),
        )
        self.addCleanup(resolver.stop)
        return resolver


class ContractTests(ResolverContract, LoopbackCase):
    """The resolver as an `IResolver`, over UDP and TCP."""

    def setUp(self) -> None:
        server = self.server(ZONES)
        self.real = self.resolver((server.host, server.port))

    def ask(self, name: str, kind: str) -> Deferred[Answer]:
        return self.real.lookup(name, kind)


class LoopbackTests(LoopbackCase):
    async def test_large_answer(self) -> None:
        """RFC 7766 5: an answer that does not fit into a datagram comes by TCP."""
        server = self.server(ZONES)
        answer = await self.resolver((server.host, server.port)).lookup("many.test", "A")
        self.assertEqual(len(answer.records), 100)
        self.assertEqual([by for _, _, by in server.asked], ["udp", "tcp"])

    async def test_nobody_listens(self) -> None:
        """A closed port is noticed at once (ICMP), and the next server is asked."""
        server = self.server({("x.test", "MX"): ["10 mx.test."]})
        started = REACTOR.seconds()
        resolver = self.resolver((server.host, free_port()), (server.host, server.port), timeout=5)
        answer = await resolver.lookup("x.test", "MX")
        self.assertEqual(answer.records, (MX(10, "mx.test"),))
        self.assertLess(REACTOR.seconds() - started, 4)

    async def test_silence(self) -> None:
        """A server that keeps silent costs its time-out, then the next one answers."""
        silent = self.server({("x.test", "MX"): Fault.SILENCE})
        server = self.server({("x.test", "MX"): Entry(["10 mx.test."], fault=Fault.FORGED_FIRST)})
        resolver = self.resolver((silent.host, silent.port), (server.host, server.port), timeout=0.2)
        self.assertIs((await resolver.lookup("x.test", "MX")).status, Status.ANSWER)

    async def test_burst(self) -> None:
        """A burst of questions loses no answer."""
        zones: Zones = {(f"x{number}.test", "A"): [f"10.0.0.{number % 250}"] for number in range(600)}
        server = self.server(zones)
        resolver = self.resolver((server.host, server.port), timeout=5)
        answers = await gatherResults([resolver.lookup(f"x{number}.test", "A") for number in range(600)])
        self.assertEqual([answer.records for answer in answers], [(f"10.0.0.{number % 250}",) for number in range(600)])

    async def test_stop(self) -> None:
        """Stopping answers what is under way and closes every socket: trial would find one that is left."""
        server = self.server({("x.test", "MX"): Fault.SILENCE, ("y.test", "MX"): Fault.TCP_CLOSED})
        resolver = self.resolver((server.host, server.port), timeout=5)
        waiting = [resolver.lookup("x.test", "MX"), resolver.lookup("y.test", "MX")]
        await resolver.stop()
        for answer in await gatherResults(waiting):
            self.assertIs(answer.status, Status.COULD_NOT_ASK)

    async def test_unusable_address(self) -> None:
        """An address that the kernel has no route for is trouble, not an exception."""
        answer = await self.resolver(("fe80::1", 53), timeout=0.1).lookup("x.test", "MX")
        self.assertIs(answer.status, Status.COULD_NOT_ASK)

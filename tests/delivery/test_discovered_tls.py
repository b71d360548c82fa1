"""Delivering as DANE and MTA-STS demand, with real handshakes over loopback, from the domain's policy to the host."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import cast

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

from mta.delivery.connecting import IReactorSMTP
from mta.delivery.remote import RemoteAgent
from mta.destination import Destination, Host, NextHop, Route, Transport
from mta.dns.fake import FakeResolver
from mta.lookup import MX
from mta.routing.tls_policies import ConfiguredTls
from mta.sts_policy import Mode
from mta.tls.client import ClientTls
from mta.tls.dane_lookup import DaneLookup
from mta.tls.policies import DiscoveredTls, judge_by
from mta.tls_policy import TlsLevel, TlsPolicy
from tests.delivery.material import LIMITS, TIMEOUTS
from tests.delivery.test_tls import BETWEEN, Steps, TlsCase
from tests.peers.certificates import Issued, made
from tests.peers.scripted import ScriptedServer
from tests.peers.scripted_tls import TlsServer
from tests.tls.test_policies import FakeStsPolicies

# Nobody trusts who issued it, and it is for nobody: only a TLSA record can say that it is right.
OWN = made("anything")
OTHER = made("anything")
NAMED = made("mx.signed.test", BETWEEN, names=("mx.signed.test",))
ROUTE = Route(NextHop(Transport.MX), "MX lookup")


def record(issued: Issued, usage: int = 3) -> bytes:
    """The TLSA record with the SHA-256 digest of its key, as RDATA."""
    key = issued.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return bytes((usage, 1, 1)) + hashlib.sha256(key).digest()


class DiscoveredTlsCase(TlsCase):
    """signed.test has mx.signed.test and then mx2.signed.test; both, and their zone's signatures, are the test's."""

    def setUp(self) -> None:
        super().setUp()
        self.ask(None)

    def ask(self, mode: Mode | None) -> None:
        """Have mail for signed.test find a policy of this mode."""
        self.resolver = FakeResolver(
            {
                ("signed.test", "MX"): [MX(10, "mx.signed.test"), MX(20, "mx2.signed.test")],
                ("mx.signed.test", "A"): ["127.0.0.1"],
                ("mx2.signed.test", "A"): ["127.0.0.1"],
            },
            signed=["signed.test"],
        )
        sts = FakeStsPolicies(mode)
        configured = ConfiguredTls(TlsLevel.MAY, {})
        self.policies = DiscoveredTls(configured, DaneLookup(self.resolver), lambda: True, sts)
        self.agent = RemoteAgent(
            reactor=cast(IReactorSMTP, reactor),
            resolver=self.resolver,
            timeouts=TIMEOUTS,
            limits=LIMITS,
            hello="client.test",
            health=self.health,
            rng=random.Random(1),
            tls=ClientTls(self.authorities, judge_by(cast(IReactorSMTP, reactor).seconds)),
            policies=self.policies,
        )

    def to(self, *servers: ScriptedServer) -> Destination:
        """The destination of mail for signed.test, with these as its first and second host, as the queue makes it."""
        names = ("mx.signed.test", "mx2.signed.test")
        hosts = tuple(
            Host(name, self.listen(server), 10 * rank)
            for rank, (name, server) in enumerate(zip(names, servers, strict=False))
        )
        policy = self.policies.policy("signed.test", ROUTE)
        assert isinstance(policy, TlsPolicy), policy
        return Destination(ROUTE.next_hop, f"site {hosts[0].port}", hosts, policy)

    def publish(self, host: Host, *records: bytes) -> None:
        self.resolver.set(f"_{host.port}._tcp.{host.name}", "TLSA", records)


class DaneTests(DiscoveredTlsCase):
    @inlineCallbacks
    def test_good(self) -> Steps:
        """A server whose key the DNS names gets the mail, and the log says what was proved (RFC 7672 3.1.1)."""
        server = TlsServer(OWN)
        destination = self.to(server)
        self.publish(destination.hosts[0], record(OTHER), record(OWN))
        outcome = yield self.deliver(destination)
        self.delivered(outcome, "TLSv1.3 verified (dane)")
        assert server.tls is not None
        self.assertEqual([b"mx.signed.test"], server.tls.asked_for)

    @inlineCallbacks
    def test_wrong(self) -> Steps:
        """A server with another key gets nothing, whoever issued its certificate; the message waits."""
        server = TlsServer(NAMED)
        destination = self.to(server)
        self.publish(destination.hosts[0], record(OWN))
        outcome = yield self.deliver(destination)
        self.deferred(outcome, "match none of the TLSA records (3 1 1); TLS is demanded (dane)")
        self.assertEqual([], server.messages)

    @inlineCallbacks
    def test_next_host(self) -> Steps:
        """Where a host is not who it should be, or its records can't be had, the next one is tried."""
        for bogus in (False, True):
            first, second = TlsServer(OTHER), TlsServer(OWN)
            destination = self.to(first, second)
            self.publish(destination.hosts[0], record(OWN))
            self.publish(destination.hosts[1], record(OWN))
            if bogus:
                self.resolver.fail(f"_{destination.hosts[0].port}._tcp.mx.signed.test", "TLSA")
            outcome = yield self.deliver(destination)
            self.delivered(outcome, "TLSv1.3 verified (dane)")
            self.assertEqual((int(not bogus), 1), (len(first.sessions), len(second.sessions)))
            self.assertEqual([], first.messages)

    @inlineCallbacks
    def test_stripped(self) -> Steps:
        """A host with records that offers no TLS gets nothing: somebody may have taken the offer out."""
        server = ScriptedServer()
        destination = self.to(server)
        self.publish(destination.hosts[0], record(OWN))
        outcome = yield self.deliver(destination)
        self.deferred(outcome, "TLS is demanded (dane)", "4.7.4")
        self.assertEqual([], server.messages)

    @inlineCallbacks
    def test_unusable(self) -> Steps:
        """RFC 7672 2.2: with records that are of no use TLS is demanded, and any certificate will do."""
        for server, tls in ((TlsServer(OTHER), "TLSv1.3 unverified (dane: encrypt)"), (ScriptedServer(), "")):
            destination = self.to(server)
            self.publish(destination.hosts[0], record(OWN, usage=1))
            outcome = yield self.deliver(destination)
            if tls:
                self.delivered(outcome, tls)
            else:
                self.deferred(outcome, "TLS is demanded (dane: encrypt)", "4.7.4")

    @inlineCallbacks
    def test_without_records(self) -> Steps:
        """Where a signed zone has no records mail goes as everywhere."""
        outcome = yield self.deliver(self.to(TlsServer(OTHER)))
        self.delivered(outcome, "TLSv1.3 unverified (default: may)")

    @inlineCallbacks
    def test_reuse(self) -> Steps:
        """Connections are used again for mail of the same domain, and not for what was never held against records."""
        server = TlsServer(OWN)
        destination = self.to(server)
        yield self.deliver(replace(destination, tls=TlsPolicy()))
        self.publish(destination.hosts[0], record(OWN))
        for _ in range(2):
            outcome = yield self.deliver(destination)
            self.delivered(outcome, "TLSv1.3 verified (dane)")
        self.assertEqual((2, 3), (len(server.sessions), len(server.messages)))


class StsTests(DiscoveredTlsCase):
    @inlineCallbacks
    def test_enforced(self) -> Steps:
        """Under an enforced policy a listed host with the right certificate gets the mail (RFC 8461 4)."""
        self.ask(Mode.ENFORCE)
        outcome = yield self.deliver(self.to(TlsServer(NAMED)))
        self.delivered(outcome, "TLSv1.3 verified (mta-sts: verify)")

    @inlineCallbacks
    def test_wrong(self) -> Steps:
        """A certificate that nobody trusts is a deferral, and a host that is not listed is not connected to."""
        self.ask(Mode.ENFORCE)
        first, second = TlsServer(OTHER), TlsServer(NAMED)
        outcome = yield self.deliver(self.to(first, second))
        self.deferred(outcome, "(mta-sts: verify)")
        self.assertEqual((1, 0), (len(first.sessions), len(second.sessions)))

    @inlineCallbacks
    def test_unlisted_comes_first(self) -> Steps:
        """A host that the policy does not list is skipped, and the listed one behind it gets the mail."""
        self.ask(Mode.ENFORCE)
        first, second = TlsServer(OTHER), TlsServer(NAMED)
        destination = self.to(second, first)
        listed, unlisted = destination.hosts
        swapped = (replace(unlisted, preference=0), replace(listed, preference=10))
        outcome = yield self.deliver(replace(destination, hosts=swapped))
        self.delivered(outcome, "TLSv1.3 verified (mta-sts: verify)")
        self.assertEqual((0, 1), (len(first.sessions), len(second.sessions)))

    @inlineCallbacks
    def test_dane_wins(self) -> Steps:
        """A host with TLSA records is known by them, listed or not; a wrong one is not saved by its authority."""
        self.ask(Mode.ENFORCE)
        first, second = TlsServer(NAMED), TlsServer(OWN)
        destination = self.to(first, second)
        for host in destination.hosts:
            self.publish(host, record(OWN))
        outcome = yield self.deliver(destination)
        self.delivered(outcome, "TLSv1.3 verified (dane)")
        self.assertEqual(([], 1), (first.messages, len(second.messages)))

    @inlineCallbacks
    def test_testing(self) -> Steps:
        """A policy that is only tested keeps no mail back (RFC 8461 5)."""
        self.ask(Mode.TESTING)
        outcome = yield self.deliver(self.to(TlsServer(OTHER)))
        self.delivered(outcome, "TLSv1.3 unverified (default: may)")

"""What a report on TLS is told of each session, with real handshakes over loopback, under each kind of policy."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from zope.interface import implementer

from mta.address import Address
from mta.delivery.connecting import IReactorSMTP
from mta.delivery.remote import RemoteAgent
from mta.destination import Destination, NextHop, Transport
from mta.envelope import RequireTls
from mta.interfaces import ITlsReports
from mta.outcome import Delivered
from mta.routing.tls_policies import ConfiguredTls
from mta.sts_policy import Mode
from mta.tls.client import ClientTls
from mta.tls.dane_lookup import DaneLookup
from mta.tls.policies import DiscoveredTls, judge_by
from mta.tls_policy import TlsLevel, TlsPolicy, TlsSource
from mta.tls_report import Result, Session
from tests.delivery.material import LIMITS, TIMEOUTS, delivery
from tests.delivery.test_discovered_tls import NAMED, OTHER, OWN, DiscoveredTlsCase, record
from tests.delivery.test_tls import BETWEEN, Steps
from tests.peers.certificates import DAY, Issued, made
from tests.peers.scripted import ScriptedServer
from tests.peers.scripted_tls import TlsServer
from tests.tls.test_policies import FakeStsPolicies

MISNAMED = made("mx.other.test", BETWEEN, names=("mx.other.test",))
EXPIRED = made("mx.signed.test", BETWEEN, names=("mx.signed.test",), since=-2 * DAY, until=timedelta(hours=-1))
TWO = Address("user", "second.test")


@implementer(ITlsReports)
class Counted:
    """Keeps what is counted."""

    def __init__(self) -> None:
        self.sessions: list[tuple[list[str], TlsPolicy, Session]] = []

    def count(self, domains: Iterable[str], policy: TlsPolicy, session: Session) -> None:
        self.sessions.append((sorted(domains), policy, session))


class ReportsCase(DiscoveredTlsCase):
    def ask(self, mode: Mode | None) -> None:
        super().ask(mode)
        self.configure(mode)

    def configure(self, mode: Mode | None, level: TlsLevel = TlsLevel.MAY) -> None:
        self.counted = Counted()
        configured = ConfiguredTls(level, {})
        self.policies = DiscoveredTls(configured, DaneLookup(self.resolver), lambda: True, FakeStsPolicies(mode))
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
            reports=self.counted,
        )

    def results(self) -> list[Result | None]:
        return [session.finding.result for _domains, _policy, session in self.counted.sessions]


class EnforcedTests(ReportsCase):
    @inlineCallbacks
    def test_table(self) -> Steps:
        """RFC 8460 4.3.1: each way to fail an enforced MTA-STS policy has its result, and its particulars."""
        cases: tuple[tuple[ScriptedServer, Result | None, str], ...] = (
            (TlsServer(NAMED), None, ""),
            (TlsServer(OTHER), Result.NOT_TRUSTED, "self-signed"),
            (TlsServer(MISNAMED), Result.HOST_MISMATCH, "is for mx.other.test, not for mx.signed.test"),
            (TlsServer(EXPIRED), Result.EXPIRED, "expired on"),
            (ScriptedServer(), Result.STARTTLS_NOT_SUPPORTED, ""),
            (TlsServer(NAMED, {"STAR": b"454 4.7.0 not now\r\n"}), Result.STARTTLS_NOT_SUPPORTED, "454 4.7.0 not now"),
            (TlsServer(None, garbage=b"nonsense" * 10), Result.VALIDATION_FAILURE, "wrong version number"),
        )
        for server, result, words in cases:
            self.ask(Mode.ENFORCE)
            outcome = yield self.deliver(self.to(server))
            self.assertEqual(result is None, isinstance(outcome, Delivered), outcome)
            ((domains, policy, session),) = self.counted.sessions
            self.assertEqual((["to.test"], TlsSource.MTA_STS), (domains, policy.source))
            self.assertEqual(result, session.finding.result, session)
            self.assertIn(words, session.finding.reason)
            self.assertEqual(
                ("mx.signed.test", "127.0.0.1", "127.0.0.1"), (session.host, session.ip, session.sending_ip)
            )
            self.assertEqual("scripted.test", session.helo)
            yield self.agent.stop()

    @inlineCallbacks
    def test_unlisted_host(self) -> Steps:
        """A host that the policy does not list is one that fails, though nobody connects to it."""
        self.ask(Mode.ENFORCE)
        destination = self.to(TlsServer(NAMED), TlsServer(NAMED))
        hosts = tuple(replace(host, name="mx2.signed.test") for host in destination.hosts[1:])
        yield self.deliver(replace(destination, hosts=hosts))
        self.assertEqual([Result.VALIDATION_FAILURE], self.results())
        self.assertIn("none of the hosts", self.counted.sessions[0][2].finding.reason)


class TestingTests(ReportsCase):
    @inlineCallbacks
    def test_table(self) -> Steps:
        """RFC 8461 5: with mode testing mail goes all the same, and what would have failed is told."""
        cases: tuple[tuple[ScriptedServer, Result | None], ...] = (
            (TlsServer(NAMED), None),
            (TlsServer(OTHER), Result.NOT_TRUSTED),
            (TlsServer(MISNAMED), Result.HOST_MISMATCH),
            (ScriptedServer(), Result.STARTTLS_NOT_SUPPORTED),
            (TlsServer(None, garbage=b"nonsense" * 10), Result.VALIDATION_FAILURE),
        )
        for server, result in cases:
            self.ask(Mode.TESTING)
            outcome = yield self.deliver(self.to(server))
            self.assertEqual(isinstance(outcome, Delivered), bool(server.messages), outcome)
            self.assertEqual([result], self.results())
            self.assertTrue(self.counted.sessions[0][1].tested)
            yield self.agent.stop()

    @inlineCallbacks
    def test_unlisted_host(self) -> Steps:
        """So is a host that the policy does not list, whose certificate is fine."""
        self.ask(Mode.TESTING)
        server = TlsServer(made("mx2.signed.test", BETWEEN, names=("mx2.signed.test",)))
        destination = self.to(server)
        outcome = yield self.deliver(
            replace(destination, hosts=(replace(destination.hosts[0], name="mx2.signed.test"),))
        )
        self.assertIsInstance(outcome, Delivered)
        self.assertEqual([Result.VALIDATION_FAILURE], self.results())


class DaneTests(ReportsCase):
    @inlineCallbacks
    def test_table(self) -> Steps:
        """With TLSA records the session is held against them, whatever else there is (RFC 8460 4.3.2.1)."""
        cases: tuple[tuple[Issued, bytes, Result | None], ...] = (
            (OWN, record(OWN), None),
            (NAMED, record(OWN), Result.VALIDATION_FAILURE),
            (NAMED, record(OWN, usage=1), Result.TLSA_INVALID),
        )
        for issued, published, result in cases:
            self.ask(None)
            destination = self.to(TlsServer(issued))
            self.publish(destination.hosts[0], published)
            yield self.deliver(destination)
            ((_domains, policy, session),) = self.counted.sessions
            self.assertEqual((result, "mx.signed.test"), (session.finding.result, policy.base))
            yield self.agent.stop()

    @inlineCallbacks
    def test_bogus(self) -> Steps:
        """Records that can't be proved are told; a DNS that does not answer is transient (RFC 8460 4.3.4)."""
        for reason, results in (
            ("the server failed (SERVFAIL)", [Result.DNSSEC_INVALID]),
            ("no answer within 5 s", []),
        ):
            self.ask(None)
            destination = self.to(TlsServer(OWN))
            host = destination.hosts[0]
            self.resolver.fail(f"_{host.port}._tcp.{host.name}", "TLSA", reason)
            yield self.deliver(destination)
            self.assertEqual(results, self.results())

    @inlineCallbacks
    def test_required(self) -> Steps:
        """A host without records where the operator demands DANE is told as that (RFC 7672 6)."""
        self.configure(None, TlsLevel.DANE)
        yield self.deliver(self.to(TlsServer(OWN)))
        self.assertEqual([Result.DANE_REQUIRED], self.results())


class SessionTests(ReportsCase):
    @inlineCallbacks
    def test_without_policy(self) -> Steps:
        """Any TLS is a success where there is no policy; none, or a broken one, is a failure."""
        for server, result in (
            (TlsServer(OTHER), None),
            (ScriptedServer(), Result.STARTTLS_NOT_SUPPORTED),
            (TlsServer(None, garbage=b"nonsense" * 10), Result.VALIDATION_FAILURE),
        ):
            self.ask(None)
            yield self.deliver(self.to(server))
            self.assertEqual([result], self.results())
            yield self.agent.stop()

    @inlineCallbacks
    def test_not_messages(self) -> Steps:
        """A session counts once, however many messages it carries; and once more for the first to another domain."""
        server = TlsServer(OTHER)
        destination = self.to(server)
        for _ in range(2):
            yield self.deliver(destination)
        self.assertEqual(1, len(self.counted.sessions))
        yield self.agent.deliver(delivery(destination, recipients=(TWO,)))
        self.assertEqual((1, 3), (len(server.sessions), len(server.messages)))
        self.assertEqual([["to.test"], ["second.test"]], [domains for domains, _, _ in self.counted.sessions])

    @inlineCallbacks
    def test_in_clear_afterwards(self) -> Steps:
        """A host that is spared TLS for a day is not told of it with each message."""
        server = TlsServer(None, garbage=b"nonsense" * 10)
        destination = self.to(server)
        for _ in range(2):
            yield self.deliver(destination)
            yield self.agent.stop()
        self.assertEqual([Result.VALIDATION_FAILURE], self.results())

    @inlineCallbacks
    def test_transient(self) -> Steps:
        """What fails before TLS is no news of TLS (RFC 8460 4.3.4)."""
        for script in ({"greeting": b"421 4.3.2 not now\r\n"}, {"EHLO": b"421 4.3.2 not now\r\n"}):
            self.ask(None)
            yield self.deliver(self.to(ScriptedServer(script)))
            self.assertEqual([], self.counted.sessions)

    @inlineCallbacks
    def test_named_hosts(self) -> Steps:
        """A host that the operator names is no mail host of the domain: nothing is counted."""
        destination = self.to(TlsServer(OTHER))
        next_hop = NextHop(Transport.SMTP, "mx.signed.test", destination.hosts[0].port)
        yield self.deliver(replace(destination, next_hop=next_hop))
        self.assertEqual([], self.counted.sessions)

    @inlineCallbacks
    def test_word_of_the_sender(self) -> Steps:
        """Mail with REQUIRETLS goes by its sender's word, and tells nothing of the domain's policy (RFC 8689)."""
        destination = self.to(ScriptedServer())
        item = delivery(replace(destination, tls=TlsPolicy(TlsLevel.VERIFY, TlsSource.REQUIRETLS, requiretls=True)))
        yield self.agent.deliver(replace(item, envelope=replace(item.envelope, require_tls=RequireTls.YES)))
        self.assertEqual([], self.counted.sessions)

    @inlineCallbacks
    def test_no_report_on_a_report(self) -> Steps:
        """RFC 8460 3: a session that carries a report is not in the next one; other mail over it counts."""
        destination: Destination = self.to(TlsServer(OTHER))
        item = delivery(destination)
        yield self.agent.deliver(replace(item, envelope=replace(item.envelope, tls_report=True)))
        self.assertEqual([], self.counted.sessions)
        yield self.deliver(destination)
        self.assertEqual([None], self.results())

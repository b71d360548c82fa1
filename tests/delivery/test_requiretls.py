"""Delivering as REQUIRETLS demands, with real handshakes over loopback (RFC 8689 4.2.1, 5), and TLS-Required: No."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from mta.address import Address
from mta.destination import Destination, Host, NextHop, Transport
from mta.envelope import RequireTls
from mta.outcome import Deferral, Delivered, Failure, Outcome, Phase, Scope
from mta.sts_policy import Mode
from mta.tls_policy import DEFAULT_POLICY, TlsLevel, TlsPolicy, TlsSource
from tests.delivery.material import ONE, SENDER, delivery
from tests.delivery.test_discovered_tls import NAMED, OTHER, OWN, ROUTE, DiscoveredTlsCase, record
from tests.delivery.test_tls import BETWEEN, GOOD, Steps
from tests.peers.certificates import DAY, made
from tests.peers.scripted import PIPELINING, ScriptedServer
from tests.peers.scripted_tls import STARTTLS, TlsServer

OFFERED = STARTTLS.replace(b"250-SIZE", b"250-REQUIRETLS\r\n250-SIZE")
REQUIRED = TlsPolicy(TlsLevel.VERIFY, TlsSource.REQUIRETLS, requiretls=True)
NAMED_2 = made("mx2.signed.test", BETWEEN, names=("mx2.signed.test",))


def willing(issued: Any, script: Any = None) -> TlsServer:
    """A server that offers REQUIRETLS."""
    return TlsServer(issued, {"EHLO": OFFERED, **(script or {})})


def mails(*servers: ScriptedServer) -> list[str]:
    """Every MAIL that these heard."""
    return [line for server in servers for line in server.commands if line.startswith("MAIL")]


class RequireTlsCase(DiscoveredTlsCase):
    def ask(self, mode: Mode | None) -> None:
        super().ask(mode)
        self.resolver.set("mx.test", "A", ["127.0.0.1"])

    @inlineCallbacks
    def require(
        self, destination: Destination, wish: RequireTls = RequireTls.YES, sender: Address | None = SENDER
    ) -> Generator[Deferred[Any], Any, Outcome]:
        plain = delivery(destination, sender=sender)
        outcomes = yield self.agent.deliver(replace(plain, envelope=replace(plain.envelope, require_tls=wish)))
        found: Outcome = outcomes[ONE]
        return found

    @inlineCallbacks
    def wished(
        self, *servers: ScriptedServer, wish: RequireTls = RequireTls.YES, is_report: bool = False
    ) -> Generator[Deferred[Any], Any, Destination]:
        """The destination of such mail for signed.test, with these servers as its hosts."""
        usual = self.to(*servers)
        found = self.policies.wished("signed.test", ROUTE, wish, is_report=is_report)
        policy = (yield found) if isinstance(found, Deferred) else found
        assert isinstance(policy, TlsPolicy), policy
        return replace(usual, tls=policy)

    def failed(self, outcome: Outcome, enhanced: str, reason: str) -> None:
        assert isinstance(outcome, Failure), outcome
        self.assertIn(reason, outcome.reason)
        self.assertEqual((enhanced, Phase.TLS), (outcome.enhanced, outcome.phase), outcome.reason)


class RequiredTests(RequireTlsCase):
    @inlineCallbacks
    def test_good(self) -> Steps:
        """By DNSSEC and the authority, by DANE, and by MTA-STS: it goes, MAIL says so, and so does the log."""
        for mode, issued, tls in (
            (None, NAMED, "TLSv1.3 verified (requiretls: verify)"),
            (None, OWN, "TLSv1.3 verified (requiretls, dane)"),
        ):
            self.ask(mode)
            server = willing(issued)
            destination = yield self.wished(server)
            if issued is OWN:
                self.publish(destination.hosts[0], record(OWN))
            outcome = yield self.require(destination)
            self.delivered(outcome, tls)
            self.assertEqual(["MAIL FROM:<sender@from.test> SIZE=30 REQUIRETLS"], mails(server))

    @inlineCallbacks
    def test_by_sts(self) -> Steps:
        """MTA-STS vouches for the hosts where DNSSEC does not."""
        server = willing(GOOD)
        destination = self.at(self.listen(server), replace(REQUIRED, source=TlsSource.MTA_STS, hosts=("mx.test",)))
        outcome = yield self.require(destination)
        self.assertIsInstance(outcome, Delivered)
        other = replace(REQUIRED, source=TlsSource.MTA_STS, hosts=("else.test",))
        outcome = yield self.require(self.at(self.listen(willing(GOOD)), other))
        self.failed(
            outcome, "5.7.10", "mx.test is none of the mail hosts that the policy (requiretls, mta-sts: verify) allows"
        )

    @inlineCallbacks
    def test_failures(self) -> Steps:
        """What the RFC has tested is tested, each failure is final, has its code, and nobody hears of the message."""
        expired = made("mx.signed.test", BETWEEN, names=("mx.signed.test",), since=-9 * DAY, until=-2 * DAY)
        stranger = made("mx.signed.test", names=("mx.signed.test",))
        plain = ScriptedServer({"EHLO": PIPELINING})
        for server, code, reason in (
            (TlsServer(NAMED), "5.7.30", "does not offer REQUIRETLS"),
            (plain, "5.7.10", "does not offer STARTTLS"),
            (willing(NAMED, {"STAR": b"554 5.7.0 never\r\n"}), "5.7.10", "refused STARTTLS: 554 5.7.0 never"),
            (willing(GOOD), "5.7.10", "its certificate is for"),
            (willing(expired), "5.7.10", "expired"),
            (willing(stranger), "5.7.10", "TLS is demanded (requiretls: verify)"),
        ):
            with self.subTest(reason=reason):
                destination = yield self.wished(server)
                outcome = yield self.require(destination)
                self.failed(outcome, code, reason)
                self.assertEqual([], mails(server))
                self.assertEqual(1, len(server.sessions))

    @inlineCallbacks
    def test_wrong_key(self) -> Steps:
        """A host with TLSA records is judged by them alone, whoever issued its certificate."""
        server = willing(NAMED)
        destination = yield self.wished(server)
        self.publish(destination.hosts[0], record(OTHER))
        outcome = yield self.require(destination)
        self.failed(outcome, "5.7.10", "match none of the TLSA records")
        self.assertEqual([], mails(server))

    @inlineCallbacks
    def test_what_may_pass(self) -> Steps:
        """What may be otherwise tomorrow is a deferral: 454, garbage for a handshake, no records, nobody there."""
        for server, reason in (
            (willing(NAMED, {"STAR": b"454 4.7.0 not now\r\n"}), "refused STARTTLS: 454"),
            (TlsServer(None, {"EHLO": OFFERED}, garbage=b"250 what?\r\n"), "TLS with"),
        ):
            destination = yield self.wished(server)
            outcome = yield self.require(destination)
            assert isinstance(outcome, Deferral), outcome
            self.assertIn(reason, outcome.reason)
            self.assertEqual([], mails(server))
        destination = yield self.wished(willing(NAMED))
        self.resolver.fail(f"_{destination.hosts[0].port}._tcp.mx.signed.test", "TLSA")
        outcome = yield self.require(destination)
        assert isinstance(outcome, Deferral), outcome
        self.assertEqual("4.4.3", outcome.enhanced)

    @inlineCallbacks
    def test_every_host(self) -> Steps:
        """RFC 8689 4.2.1: each host is tried; the first that fulfils it gets the mail, and one that may still waits."""
        first, second = TlsServer(NAMED), willing(NAMED_2)
        destination = yield self.wished(first, second)
        outcome = yield self.require(destination)
        self.delivered(outcome, "TLSv1.3 verified (requiretls: verify)")
        self.assertEqual(
            (["EHLO", "STAR", "EHLO", "QUIT"], 1), ([line[:4] for line in first.commands], len(mails(second)))
        )
        first, second = TlsServer(NAMED), TlsServer(NAMED_2)
        destination = yield self.wished(first, second)
        outcome = yield self.require(destination)
        self.failed(outcome, "5.7.30", "does not offer REQUIRETLS")
        self.assertEqual((1, 1), (len(first.sessions), len(second.sessions)))
        for servers in (
            (TlsServer(NAMED), willing(NAMED_2, {"STAR": b"454 4.7.0 not now\r\n"})),
            (willing(NAMED, {"greeting": b"554 5.3.2 not me\r\n"}), TlsServer(NAMED_2)),
        ):
            destination = yield self.wished(*servers)
            outcome = yield self.require(destination)
            self.assertIsInstance(outcome, Deferral, outcome)

    @inlineCallbacks
    def test_nobody_vouches(self) -> Steps:
        """Behind an MX record that could be forged the host is not even connected to."""
        server = willing(GOOD)
        destination = self.at(self.listen(server), replace(REQUIRED, hosts=("to.test",)))
        outcome = yield self.require(destination)
        self.failed(outcome, "5.7.10", "neither DNSSEC nor MTA-STS vouches for mx.test as a mail host")
        self.assertEqual([], server.sessions)

    @inlineCallbacks
    def test_without_a_policy(self) -> Steps:
        """Where nobody said what it takes nothing is sent, and nothing is lost: the fault is ours."""
        server = willing(GOOD)
        outcome = yield self.require(self.at(self.listen(server), DEFAULT_POLICY))
        assert isinstance(outcome, Deferral), outcome
        self.assertEqual((Scope.OURSELVES, []), (outcome.scope, server.sessions))

    @inlineCallbacks
    def test_within_this_host(self) -> Steps:
        """LMTP on this host needs no TLS, and is told nothing of it."""
        server = ScriptedServer({"LHLO": OFFERED})
        port = self.listen(server)
        destination = Destination(NextHop(Transport.LMTP, "127.0.0.1", port), "here", (Host("127.0.0.1", port),))
        outcome = yield self.require(replace(destination, tls=TlsPolicy(TlsLevel.NONE)))
        self.assertIsInstance(outcome, Delivered)
        self.assertEqual(["MAIL FROM:<sender@from.test> SIZE=30"], mails(server))


class ConnectionTests(RequireTlsCase):
    @inlineCallbacks
    def test_weak_connections(self) -> Steps:
        """Mail that requires it never rides on a connection that was made for other mail, be it encrypted or not."""
        for issued in (GOOD, None):
            server = willing(issued) if issued else ScriptedServer({"EHLO": PIPELINING})
            destination = self.at(self.listen(server), DEFAULT_POLICY)
            outcome = yield self.deliver(destination)
            self.assertIsInstance(outcome, Delivered)
            outcome = yield self.require(replace(destination, tls=REQUIRED))
            self.assertIsInstance(outcome, Delivered if issued else Failure)
            self.assertEqual(2, len(server.sessions))

    @inlineCallbacks
    def test_strong_connections(self) -> Steps:
        """The connection of such mail carries the next such mail, and weaker mail, which says nothing of it."""
        server = willing(GOOD)
        destination = self.at(self.listen(server), REQUIRED)
        for _ in range(2):
            outcome = yield self.require(destination)
            self.assertIsInstance(outcome, Delivered)
        outcome = yield self.deliver(replace(destination, tls=DEFAULT_POLICY))
        self.assertIsInstance(outcome, Delivered)
        self.assertEqual(
            ([True, True, False], 1), (["REQUIRETLS" in mail for mail in mails(server)], len(server.sessions))
        )

    @inlineCallbacks
    def test_clear_text_is_no_way_out(self) -> Steps:
        """That a host is spoken to in clear for a day is for mail that need not be encrypted."""
        server = willing(None)
        server.garbage = b"250 what?\r\n"
        destination = self.at(self.listen(server), DEFAULT_POLICY)
        outcome = yield self.deliver(destination)
        self.assertIsInstance(outcome, Delivered)
        sent = len(mails(server))
        outcome = yield self.require(replace(destination, tls=REQUIRED))
        self.assertIsInstance(outcome, Deferral)
        self.assertEqual(sent, len(mails(server)))


class ReportTests(RequireTlsCase):
    @inlineCallbacks
    def test_falls_back(self) -> Steps:
        """RFC 8689 5: a report says REQUIRETLS where that is fulfilled; else it goes as other mail, unsaid."""
        for server, mail, tls in (
            (willing(NAMED), "MAIL FROM:<> SIZE=30 REQUIRETLS", "TLSv1.3 verified (requiretls: verify)"),
            (TlsServer(NAMED), "MAIL FROM:<> SIZE=30", "TLSv1.3 unverified (default: may)"),
            (willing(OTHER), "MAIL FROM:<> SIZE=30", "TLSv1.3 unverified (default: may)"),
            (ScriptedServer({"EHLO": PIPELINING}), "MAIL FROM:<> SIZE=30", "none (not offered)"),
        ):
            with self.subTest(mail=mail, tls=tls):
                destination = yield self.wished(server, is_report=True)
                outcome = yield self.require(destination, sender=None)
                self.delivered(outcome, tls)
                self.assertEqual([mail], mails(server))

    @inlineCallbacks
    def test_policies_hold(self) -> Steps:
        """What the domain demands of all mail is demanded of a report as well."""
        server = TlsServer(OTHER)
        destination = yield self.wished(server, is_report=True)
        self.publish(destination.hosts[0], record(OWN))
        outcome = yield self.require(destination, sender=None)
        self.deferred(outcome, "match none of the TLSA records")
        self.assertEqual([], mails(server))


class NotRequiredTests(RequireTlsCase):
    @inlineCallbacks
    def test_goes_all_the_same(self) -> Steps:
        """RFC 8689 4.2.2: with a certificate that the policy would refuse, and without TLS at all."""
        self.ask(Mode.ENFORCE)
        for server, tls in (
            (TlsServer(OTHER), "TLSv1.3 unverified (default: may)"),
            (ScriptedServer({"EHLO": PIPELINING}), "none (not offered)"),
        ):
            destination = yield self.wished(server, wish=RequireTls.NO)
            self.publish(destination.hosts[0], record(OWN))
            outcome = yield self.require(destination, RequireTls.NO)
            self.delivered(outcome, tls)
            self.assertEqual(["MAIL FROM:<sender@from.test> SIZE=30"], mails(server))

"""Delivering over TLS, with real handshakes over loopback: every level, every bad certificate, fallback, reuse."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from mta.delivery.connecting import IReactorSMTP
from mta.delivery.health import Health
from mta.delivery.remote import RemoteAgent
from mta.destination import Destination, Host, NextHop, Transport
from mta.dns.fake import FakeResolver
from mta.outcome import Deferral, Delivered, Outcome, Phase, Scope
from mta.routing.tls_policies import ConfiguredTls
from mta.tls.client import ClientTls
from mta.tls_policy import TlsLevel, TlsPolicy, TlsSource
from tests.delivery.material import LIMITS, ONE, TEXT, TIMEOUTS, Content, delivery
from tests.peers.certificates import DAY, Issued, made
from tests.peers.scripted import PIPELINING, Script, ScriptedServer
from tests.peers.scripted_tls import GO, TlsServer

Steps = Generator[Deferred[Any], Any, None]

ROOT = made("test root", is_authority=True)
BETWEEN = made("test intermediate", ROOT, is_authority=True)
GOOD = made("mx.test", BETWEEN, names=("mx.test", "127.0.0.1"))
STRANGER = made("other root", is_authority=True)

MAY = TlsPolicy()
NONE = TlsPolicy(TlsLevel.NONE, TlsSource.ROUTE)
ENCRYPT = TlsPolicy(TlsLevel.ENCRYPT, TlsSource.ROUTE)
VERIFY = TlsPolicy(TlsLevel.VERIFY, TlsSource.DOMAIN)


class TlsCase(TestCase):
    """mx.test is a server of the test on the loopback interface; "test root" is the one authority trusted."""

    timeout = 20

    def setUp(self) -> None:
        top = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, top)
        authorities = top / "authorities.pem"
        authorities.write_bytes(ROOT.pem)
        self.authorities = str(authorities)
        self.health = Health(60.0, 3600.0)
        self.agent = RemoteAgent(
            reactor=cast(IReactorSMTP, reactor),
            resolver=FakeResolver({("mx.test", "A"): ["127.0.0.1"]}),
            timeouts=TIMEOUTS,
            limits=LIMITS,
            hello="client.test",
            health=self.health,
            rng=random.Random(1),
            tls=ClientTls(self.authorities),
            policies=ConfiguredTls(TlsLevel.MAY, {}),
        )
        self.servers: list[ScriptedServer] = []
        self.addCleanup(self._close)

    def listen(self, server: ScriptedServer, factory: Any = None) -> int:
        listening: IListeningPort = cast(Any, reactor).listenTCP(0, factory or server, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.servers.append(server)
        port: int = cast(Any, listening.getHost()).port
        return port

    @inlineCallbacks
    def _close(self) -> Steps:
        """End the idle connections, and wait for those that are taking their leave."""
        yield self.agent.stop()
        while not all(session.gone for server in self.servers for session in server.sessions):
            yield self.wait()
        yield self.wait()  # the client's end learns of it in the next turn

    def wait(self) -> Deferred[None]:
        """A moment for what is on its way."""
        waiting: Deferred[None] = Deferred()
        cast(Any, reactor).callLater(0.02, waiting.callback, None)
        return waiting

    def at(self, port: int, policy: TlsPolicy, name: str = "mx.test", transport: Transport = Transport.SMTP) -> Any:
        """A destination at that server."""
        return Destination(NextHop(transport, name, port), f"{name}:{port}", (Host(name, port),), policy)

    @inlineCallbacks
    def deliver(self, destination: Destination, **more: Any) -> Generator[Deferred[Any], Any, Outcome]:
        outcomes = yield self.agent.deliver(delivery(destination, **more))
        found: Outcome = outcomes[ONE]
        return found

    def deferred(self, outcome: Outcome, reason: str, enhanced: str = "4.7.5") -> None:
        """It is a deferral of this message alone, with this reason."""
        assert isinstance(outcome, Deferral), outcome
        self.assertIn(reason, outcome.reason)
        self.assertEqual(
            (enhanced, Phase.TLS, Scope.MESSAGE), (outcome.enhanced, outcome.phase, outcome.scope), outcome.reason
        )

    def delivered(self, outcome: Outcome, tls: str) -> None:
        assert isinstance(outcome, Delivered), outcome
        self.assertEqual(tls, outcome.tls)


class LevelTests(TlsCase):
    @inlineCallbacks
    def test_good(self) -> Steps:
        """With a good certificate each level that wants TLS gets it, says which, and asks for the host by name."""
        for policy, tls in (
            (MAY, "TLSv1.3 unverified (default: may)"),
            (ENCRYPT, "TLSv1.3 unverified (route: encrypt)"),
            (VERIFY, "TLSv1.3 verified (domain: verify)"),
        ):
            server = TlsServer(GOOD)
            outcome = yield self.deliver(self.at(self.listen(server), policy))
            self.delivered(outcome, tls)
            self.assertEqual([TEXT], server.messages)
            self.assertEqual(["EHLO", "STAR", "EHLO", "MAIL"], [line[:4] for line in server.commands[:4]])
            assert server.tls is not None
            self.assertEqual([b"mx.test"], server.tls.asked_for)

    @inlineCallbacks
    def test_none(self) -> Steps:
        """At `none` TLS is not asked for, whatever is offered."""
        server = TlsServer(GOOD)
        outcome = yield self.deliver(self.at(self.listen(server), NONE))
        self.delivered(outcome, "none (route: none)")
        self.assertNotIn("STARTTLS", server.commands)

    @inlineCallbacks
    def test_large(self) -> Steps:
        """Megabytes pass whole through TLS, each octet."""
        server = TlsServer(GOOD)
        text = b"".join(b"%d .line\r\n.\r\n" % number for number in range(100_000))
        outcome = yield self.deliver(self.at(self.listen(server), VERIFY), content=Content(text, 262_144))
        self.delivered(outcome, "TLSv1.3 verified (domain: verify)")
        self.assertEqual([text], server.messages)

    @inlineCallbacks
    def test_an_address(self) -> Steps:
        """A next hop by address is verified by the address, and no name is sent (RFC 6066 3)."""
        server = TlsServer(GOOD)
        outcome = yield self.deliver(self.at(self.listen(server), VERIFY, "127.0.0.1"))
        self.delivered(outcome, "TLSv1.3 verified (domain: verify)")
        assert server.tls is not None
        self.assertEqual([], [name for name in server.tls.asked_for if name is not None])

    @inlineCallbacks
    def test_names_of_the_policy(self) -> Steps:
        """Where a policy names who may answer, that name counts and not the host's."""
        other = made("smarthost.test", BETWEEN, names=("smarthost.test",))
        policy = TlsPolicy(TlsLevel.VERIFY, TlsSource.ROUTE, names=("a.test", "smarthost.test"))
        outcome = yield self.deliver(self.at(self.listen(TlsServer(other)), policy))
        self.delivered(outcome, "TLSv1.3 verified (route: verify)")

    @inlineCallbacks
    def test_implicit(self) -> Steps:
        """Behind smtps:// TLS comes before the greeting."""
        server = ScriptedServer()
        issued = GOOD
        tls = TlsServer(issued).tls
        assert tls is not None
        port = self.listen(server, TLSMemoryBIOFactory(tls, False, server))
        outcome = yield self.deliver(self.at(port, VERIFY, transport=Transport.SMTPS))
        self.delivered(outcome, "TLSv1.3 verified (domain: verify)")
        self.assertNotIn("STARTTLS", server.commands)

    @inlineCallbacks
    def test_implicit_at_a_plain_server(self) -> Steps:
        """A server in clear behind smtps:// is told of, and gets nothing."""
        server = ScriptedServer()
        outcome = yield self.deliver(self.at(self.listen(server), VERIFY, transport=Transport.SMTPS))
        self.deferred(outcome, "failed: wrong version number; TLS is demanded (domain: verify)")
        self.assertEqual([], server.messages)


class BadCertificateTests(TlsCase):
    def _bad(self) -> list[tuple[Issued, str]]:
        old = made("old", BETWEEN, names=("mx.test",), since=-9 * DAY, until=-2 * DAY)
        early = made("early", BETWEEN, names=("mx.test",), since=2 * DAY, until=9 * DAY)
        truncated = Issued(GOOD.certificate, GOOD.key)
        stale = made("stale", ROOT, is_authority=True, since=-9 * DAY, until=-timedelta(days=1))
        return [
            (old, "its certificate expired on "),
            (early, "its certificate is not valid before "),
            (made("mx.test", names=("mx.test",)), "its certificate is self-signed"),
            (made("mx.test", STRANGER, names=("mx.test",)), "neither in the chain that it sent nor an authority"),
            (truncated, "the issuer of its certificate is neither in the chain that it sent nor an authority"),
            (made("mx.test", stale, names=("mx.test",)), "a certificate of its chain expired on "),
            (
                made("mx.test", BETWEEN, names=("a.test", "*.mx.test")),
                "its certificate is for a.test, *.mx.test, not for mx.test",
            ),
            (made("mx.test", BETWEEN), "its certificate is for no name, not for mx.test"),
        ]

    @inlineCallbacks
    def test_verify(self) -> Steps:
        """At `verify` each bad certificate is a deferral with its own reason, and nothing is sent to its owner."""
        for issued, reason in self._bad():
            server = TlsServer(issued)
            outcome = yield self.deliver(self.at(self.listen(server), VERIFY))
            self.deferred(outcome, reason)
            self.assertTrue(outcome.reason.endswith("; TLS is demanded (domain: verify)"), outcome.reason)
            self.assertEqual(["EHLO", "STAR"], [line[:4] for line in server.commands])

    @inlineCallbacks
    def test_may_and_encrypt(self) -> Steps:
        """At `may` and `encrypt` any certificate will do (RFC 7435)."""
        for issued, _reason in self._bad():
            for policy in (MAY, ENCRYPT):
                outcome = yield self.deliver(self.at(self.listen(TlsServer(issued)), policy))
                self.delivered(outcome, f"TLSv1.3 unverified ({policy.why})")


class FallbackTests(TlsCase):
    @inlineCallbacks
    def test_garbage(self) -> Steps:
        """At `may` garbage instead of a handshake leads to one try in clear, and for a day to no other."""
        server = TlsServer(None, garbage=b"what is this?\r\n" * 5)
        port = self.listen(server)
        for sessions in (2, 3):
            outcome = yield self.deliver(self.at(port, MAY))
            assert isinstance(outcome, Delivered), outcome
            self.assertIn("none (TLS with mx.test[127.0.0.1]", outcome.tls)
            self.assertEqual(sessions, len(server.sessions))
            yield self._leave()
        self.assertEqual(1, server.commands.count("STARTTLS"))

    def _leave(self) -> Deferred[None]:
        """Have the agent keep no idle connection."""
        for connection in list(self.agent._pool._idle):
            connection.abort()
        return self.wait()

    @inlineCallbacks
    def test_refused(self) -> Steps:
        """At `may` a 454 leads on in clear over the same connection, and is remembered as well."""
        server = TlsServer(GOOD, {"STAR": b"454 4.7.0 no TLS now\r\n"})
        port = self.listen(server)
        for sessions in (1, 2):
            outcome = yield self.deliver(self.at(port, MAY))
            self.delivered(outcome, "none (STARTTLS refused: 454 4.7.0 no TLS now)")
            self.assertEqual(sessions, len(server.sessions))
            yield self._leave()
        self.assertEqual(1, server.commands.count("STARTTLS"))

    @inlineCallbacks
    def test_never_where_tls_is_demanded(self) -> Steps:
        """At `encrypt` garbage, a 454 and a stripped offer are deferrals, also where `may` fell back before."""
        servers: list[tuple[Script, str, str]] = [
            ({"EHLO": PIPELINING}, "does not offer STARTTLS", "4.7.4"),
            ({"STAR": b"454 4.7.0 no\r\n"}, "refused STARTTLS: 454 4.7.0 no", "4.7.4"),
            ({"STAR": GO}, "failed: ", "4.7.5"),
        ]
        for script, reason, enhanced in servers:
            server = TlsServer(None, script, garbage=b"what is this?\r\n" * 5)
            port = self.listen(server)
            outcome = yield self.deliver(self.at(port, MAY))
            assert isinstance(outcome, Delivered), outcome
            outcome = yield self.deliver(self.at(port, ENCRYPT))
            self.deferred(outcome, reason, enhanced)
            self.assertEqual(1, len(server.messages))
            self.assertFalse(self.health.is_dead("127.0.0.1", port, cast(Any, reactor).seconds()))


class ReuseTests(TlsCase):
    @inlineCallbacks
    def test_reuse(self) -> Steps:
        """A connection is used again where it is good enough for the next message, and only there."""
        other = TlsPolicy(TlsLevel.VERIFY, TlsSource.MTA_STS, hosts=("mx.test",))
        for first, second, sessions in (
            (NONE, MAY, 2),
            (MAY, NONE, 1),
            (MAY, MAY, 1),
            (MAY, ENCRYPT, 1),
            (MAY, VERIFY, 2),
            (NONE, ENCRYPT, 2),
            (ENCRYPT, VERIFY, 2),
            (VERIFY, VERIFY, 1),
            (VERIFY, MAY, 1),
            (VERIFY, other, 2),
        ):
            server = TlsServer(GOOD)
            port = self.listen(server)
            for policy in (first, second):
                outcome = yield self.deliver(self.at(port, policy))
                assert isinstance(outcome, Delivered), outcome
            self.assertEqual(sessions, len(server.sessions), f"{first.why}, then {second.why}")

    @inlineCallbacks
    def test_clear_is_not_reused_for_tls(self) -> Steps:
        """An idle connection in clear to a server that offers no TLS is no way around a policy that demands it."""
        server = TlsServer(GOOD, {"EHLO": PIPELINING})
        port = self.listen(server)
        yield self.deliver(self.at(port, MAY))
        outcome = yield self.deliver(self.at(port, ENCRYPT))
        self.deferred(outcome, "does not offer STARTTLS; TLS is demanded (route: encrypt)", "4.7.4")
        self.assertEqual(1, len(server.messages))


class HostTests(TlsCase):
    @inlineCallbacks
    def test_hosts_of_the_policy(self) -> Steps:
        """A host that the policy does not list is not connected to, and the deferral says so (RFC 8461 4.1)."""
        server = TlsServer(GOOD)
        policy = TlsPolicy(TlsLevel.VERIFY, TlsSource.MTA_STS, hosts=("*.other.test",))
        outcome = yield self.deliver(self.at(self.listen(server), policy))
        self.deferred(outcome, "mx.test is none of the mail hosts that the policy (mta-sts: verify) allows")
        self.assertEqual([], server.sessions)

    @inlineCallbacks
    def test_dane_without_records(self) -> Steps:
        """A demand for DANE that nobody can check is a deferral, and never mail in clear."""
        server = TlsServer(GOOD)
        outcome = yield self.deliver(self.at(self.listen(server), TlsPolicy(TlsLevel.DANE, TlsSource.ROUTE)))
        self.deferred(outcome, "no usable TLSA records of mx.test are known")
        self.assertEqual([], server.messages)

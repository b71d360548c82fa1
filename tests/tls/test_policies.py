"""Which policy counts where the configuration, DANE and MTA-STS each have a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mta.destination import Host, NextHop, Route, Transport
from mta.dns.fake import FakeResolver
from mta.interfaces import IStsPolicies, ITlsPolicies
from mta.login import Login
from mta.lookup import MX, Record
from mta.outcome import Deferral
from mta.routing.next_hops import parse_next_hop
from mta.routing.tls_policies import ConfiguredTls
from mta.sts_policy import Mode, StsPolicy
from mta.tls.dane_lookup import DaneLookup
from mta.tls.policies import DiscoveredTls, judge_by
from mta.tls_policy import DEFAULT_POLICY, Tlsa, TlsLevel, TlsPolicy, TlsSource
from tests.tls.chains import NOW, Issued, root, tlsa
from tests.tls.handshake import step

GOOD = Tlsa(3, 1, 1, b"\xab" * 32)
PKIX = Tlsa(1, 1, 1, b"\xab" * 32)
ROUTE = Route(NextHop(Transport.MX), "MX lookup")
PATTERNS = ("mx.signed.test", "plain.signed.test", "mx.open.test")
ENFORCED = TlsPolicy(TlsLevel.VERIFY, TlsSource.MTA_STS, hosts=PATTERNS)
DANE = TlsPolicy(TlsLevel.DANE, TlsSource.DANE, names=("signed.test",), tlsa=(GOOD,), base="mx.signed.test")


def rdata(record: Tlsa) -> bytes:
    return bytes((record.usage, record.selector, record.matching)) + record.data


ZONES: Mapping[tuple[str, str], Iterable[Record]] = {
    ("signed.test", "MX"): [MX(10, "mx.signed.test"), MX(20, "plain.signed.test"), MX(30, "odd.signed.test")],
    ("mx.signed.test", "A"): ["192.0.2.1"],
    ("plain.signed.test", "A"): ["192.0.2.2"],
    ("odd.signed.test", "A"): ["192.0.2.3"],
    ("_25._tcp.mx.signed.test", "TLSA"): [rdata(GOOD)],
    ("_25._tcp.odd.signed.test", "TLSA"): [rdata(PKIX)],
    ("_26._tcp.mx.signed.test", "TLSA"): [rdata(GOOD)],
    ("open.test", "MX"): [MX(10, "mx.open.test"), MX(20, "mx.signed.test")],
    ("mx.open.test", "A"): ["192.0.2.4"],
    ("_25._tcp.mx.open.test", "TLSA"): [rdata(GOOD)],
}


@implementer(IStsPolicies)
class FakeStsPolicies:
    """The same policy for each domain; with `held` a list, it is waited for."""

    def __init__(self, mode: Mode | None) -> None:
        self.known = StsPolicy(mode, PATTERNS, 86_400, "1") if mode is not None else None
        self.asked: list[str] = []
        self.why_unknown = ""
        self.held: list[Deferred[StsPolicy | None]] | None = None

    def policy(self, domain: str) -> Deferred[StsPolicy | None]:
        self.asked.append(domain)
        if self.held is None:
            return succeed(self.known)
        self.held.append(Deferred())
        return self.held[-1]

    def doubt(self, domain: str) -> str:
        del domain
        return self.why_unknown


class PoliciesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.validates = True
        self.begin()

    def begin(
        self,
        mode: Mode | None = None,
        default: TlsLevel = TlsLevel.MAY,
        domains: Mapping[str, TlsLevel] | None = None,
    ) -> None:
        self.resolver = FakeResolver(ZONES, signed=["signed.test"])
        self.sts = FakeStsPolicies(mode)
        configured = ConfiguredTls(default, domains or {})
        self.policies = DiscoveredTls(configured, DaneLookup(self.resolver), lambda: self.validates, self.sts)

    def policy(self, domain: str = "signed.test", route: Route = ROUTE) -> TlsPolicy:
        """What is told at once of a domain."""
        found = self.policies.policy(domain, route)
        assert isinstance(found, TlsPolicy), found
        return found

    def at_host(self, policy: TlsPolicy, host: str, port: int = 25) -> TlsPolicy | Deferral:
        found = self.policies.at_host(policy, Host(host, port))
        return self.successResultOf(found) if isinstance(found, Deferred) else found

    def deferral(self, found: TlsPolicy | Deferral) -> tuple[str | None, str]:
        assert isinstance(found, Deferral), found
        return found.enhanced, found.reason


class OrderTests(PoliciesCase):
    def test_contract(self) -> None:
        """It is what the queue and the delivery agents ask, and asks what MTA-STS offers."""
        self.assertTrue(verifyObject(ITlsPolicies, self.policies))
        self.assertTrue(verifyObject(IStsPolicies, self.sts))

    def test_order(self) -> None:
        """DANE counts before MTA-STS, that before the default; a mode that is not enforced demands nothing."""
        default = TlsPolicy()
        for mode in (None, Mode.NONE, Mode.TESTING, Mode.ENFORCE):
            self.begin(mode)
            tested = TlsPolicy(tested=PATTERNS) if mode is Mode.TESTING else default
            other = ENFORCED if mode is Mode.ENFORCE else tested
            for domain, host, wanted in (
                ("signed.test", "mx.signed.test", DANE),
                ("signed.test", "plain.signed.test", other),
                ("open.test", "mx.open.test", other),
                # RFC 7672 2.2.1: the MX record could be forged, so the records of the host it names are of no use.
                ("open.test", "mx.signed.test", other),
            ):
                with self.subTest(mode=mode, domain=domain, host=host):
                    self.assertEqual(wanted, self.at_host(self.policy(domain), host))

    def test_without_validation(self) -> None:
        """While the resolver's word is not believed mail goes as without DANE, and no MX record is asked for."""
        self.validates = False
        self.assertIs(DEFAULT_POLICY, self.policy())
        self.begin(Mode.ENFORCE)
        self.assertEqual(ENFORCED, self.policy())
        self.assertEqual([], self.resolver.asked)

    def test_unusable(self) -> None:
        """RFC 7672 2.2: records of which none is usable demand TLS with any certificate, and take nothing away."""
        raised = TlsPolicy(TlsLevel.ENCRYPT, TlsSource.DANE, tlsa=(PKIX,), base="odd.signed.test")
        self.assertEqual(raised, self.at_host(self.policy(), "odd.signed.test"))
        self.begin(Mode.ENFORCE)
        self.assertEqual(ENFORCED, self.at_host(self.policy(), "odd.signed.test"))

    def test_hosts_of_the_policy(self) -> None:
        """Under MTA-STS a host that is not listed is not used, unless its own TLSA records authenticate it."""
        self.begin(Mode.ENFORCE)
        unlisted = self.at_host(self.policy(), "odd.signed.test")
        assert isinstance(unlisted, TlsPolicy)
        self.assertFalse(unlisted.allows_host("odd.signed.test"))
        self.resolver.set("_25._tcp.odd.signed.test", "TLSA", [rdata(GOOD)])
        known = self.at_host(self.policy(), "odd.signed.test")
        assert isinstance(known, TlsPolicy)
        self.assertIs(TlsLevel.DANE, known.level)
        self.assertTrue(known.allows_host("odd.signed.test"))

    def test_bogus(self) -> None:
        """RFC 7672 2.1.2: where the records can't be had the host may not be used, whatever else is known of it."""
        self.begin(Mode.ENFORCE)
        self.resolver.fail("_25._tcp.mx.signed.test", "TLSA")
        found = self.deferral(self.at_host(self.policy(), "mx.signed.test"))
        reason = "cannot look up TLSA of _25._tcp.mx.signed.test for DANE: the server failed (SERVFAIL)"
        self.assertEqual(("4.4.3", reason), found)
        self.assertEqual(ENFORCED, self.at_host(self.policy(), "plain.signed.test"))

    def test_bogus_mx(self) -> None:
        """Without an answer on the MX records nobody can tell what the domain demands."""
        self.resolver.fail("signed.test", "MX")
        found = self.policies.policy("signed.test", ROUTE)
        assert isinstance(found, Deferral)
        self.assertEqual("4.4.3", found.enhanced)

    def test_default(self) -> None:
        """A default with TLS is raised as `may` is, and never lowered; `none` stands."""
        for level, odd in (
            (TlsLevel.ENCRYPT, TlsPolicy(TlsLevel.ENCRYPT)),
            (TlsLevel.VERIFY, TlsPolicy(TlsLevel.VERIFY)),
        ):
            self.begin(None, level)
            self.assertEqual(DANE, self.at_host(self.policy(), "mx.signed.test"))
            self.assertEqual(odd, self.at_host(self.policy(), "odd.signed.test"))
            self.assertEqual(TlsPolicy(level), self.policy("open.test"))
        self.begin(Mode.ENFORCE, TlsLevel.NONE)
        self.assertEqual(TlsPolicy(TlsLevel.NONE), self.policy())


class ConfiguredTests(PoliciesCase):
    def test_configured(self) -> None:
        """What a route, a domain or credentials demand stands, at once and without a question."""
        self.begin(Mode.ENFORCE, domains={"signed.test": TlsLevel.NONE})
        login = Route(NextHop(Transport.MX), "route 2", None, Login("u", "p"))
        for route, domain, level in (
            (ROUTE, "signed.test", TlsLevel.NONE),
            (Route(NextHop(Transport.MX), "route 1", TlsLevel.MAY), "else.test", TlsLevel.MAY),
            (login, "else.test", TlsLevel.VERIFY),
            (Route(parse_next_hop("smtp://mx.signed.test"), "route 3"), "else.test", TlsLevel.MAY),
            (Route(parse_next_hop("smtps://mx.signed.test"), "route 3"), "else.test", TlsLevel.VERIFY),
            (Route(parse_next_hop("maildir:x"), "route 3"), "else.test", TlsLevel.NONE),
            (ROUTE, "[192.0.2.1]", TlsLevel.MAY),
        ):
            found = self.policy(domain, route)
            self.assertEqual((level, (), ()), (found.level, found.dane, found.hosts), route)
            self.assertIs(found, self.policies.at_host(found, Host("mx.signed.test")))
        self.assertEqual(([], []), (self.resolver.asked, self.sts.asked))

    def test_dane_for_a_domain(self) -> None:
        """DANE that the configuration demands is asked for, and a host without it gets nothing."""
        self.begin(Mode.ENFORCE, domains={"signed.test": TlsLevel.DANE, "open.test": TlsLevel.DANE})
        found = self.at_host(self.policy(), "mx.signed.test")
        assert isinstance(found, TlsPolicy)
        self.assertEqual((TlsSource.DOMAIN, (GOOD,), "domain: dane"), (found.source, found.tlsa, found.why))
        for domain, host in (
            ("signed.test", "plain.signed.test"),
            ("signed.test", "odd.signed.test"),
            ("open.test", "mx.open.test"),
            ("open.test", "mx.signed.test"),
        ):
            reason = f"DANE is demanded (domain), and no usable TLSA records of {host} are known"
            self.assertEqual(("4.7.5", reason), self.deferral(self.at_host(self.policy(domain), host)))
        self.validates = False
        self.assertEqual("4.7.5", self.deferral(self.at_host(self.policy(), "mx.signed.test"))[0])
        self.assertEqual([], self.sts.asked)

    def test_dane_for_a_named_host(self) -> None:
        """DANE for a host that a route names: its own records count, at its own port, whoever the recipient is."""
        route = Route(parse_next_hop("smtp://mx.signed.test:26"), "route 1", TlsLevel.DANE)
        found = self.at_host(self.policy("open.test", route), "mx.signed.test", 26)
        assert isinstance(found, TlsPolicy)
        self.assertEqual((TlsSource.ROUTE, (GOOD,), "mx.signed.test"), (found.source, found.tlsa, found.base))

    def test_another_domain(self) -> None:
        """RFC 8461 3.4: behind `mx:DOMAIN` the policies are those of that domain."""
        self.begin(Mode.ENFORCE)
        policy = self.policy("else.test", Route(parse_next_hop("mx:signed.test"), "route 1"))
        self.assertEqual(("signed.test",), policy.dane)
        self.assertEqual(["signed.test"], self.sts.asked)


class WaitingTests(PoliciesCase):
    def test_at_once(self) -> None:
        """What is known comes back without a Deferred; where nothing is demanded it is the one default."""
        self.assertIs(DEFAULT_POLICY, self.policies.policy("open.test", ROUTE))

    def test_waiting(self) -> None:
        """A policy that is fetched for the first time is waited for, and DNS is asked meanwhile."""
        self.sts.held = []
        found = self.policies.policy("open.test", ROUTE)
        assert isinstance(found, Deferred)
        self.assertNoResult(found)
        self.assertEqual([("open.test", "MX")], self.resolver.asked)
        self.sts.held[0].callback(StsPolicy(Mode.ENFORCE, PATTERNS, 86_400, "1"))
        self.assertEqual(ENFORCED, self.successResultOf(found))

    def test_connections(self) -> None:
        """A connection made where nobody asked for TLSA records is not one for mail whose hosts may have some."""
        asked = self.policy()
        self.assertFalse(asked.is_met_by(DEFAULT_POLICY, encrypted=True))
        self.assertTrue(asked.is_met_by(self.policy(), encrypted=False))
        self.assertTrue(DEFAULT_POLICY.is_met_by(asked, encrypted=False))


class JudgeTests(SynchronousTestCase):
    def test_certificates(self) -> None:
        """The server's certificate is held against the records, names and time of the policy."""
        authority = root()
        mx, late = authority.issue("mx", ["signed.test"]), authority.issue("mx", ["signed.test"], ends=-1)
        trouble = judge_by(NOW.timestamp)
        records = (tlsa(2, 0, 1, authority.certificate),)
        anchor = TlsPolicy(TlsLevel.DANE, names=("signed.test",), tlsa=records, base="x")
        for issued, policy, words in (
            (mx, TlsPolicy(TlsLevel.DANE, tlsa=(tlsa(3, 1, 1, mx.certificate),), base="x"), ""),
            (mx, TlsPolicy(TlsLevel.DANE, tlsa=(GOOD,), base="x"), "match none of the TLSA records (3 1 1)"),
            (mx, anchor, ""),
            (late, anchor, "certificate has expired"),
            (mx, TlsPolicy(TlsLevel.DANE, tlsa=records, base="x"), "the certificate is for signed.test, not for x"),
        ):
            found = trouble(shaken(issued), policy)
            self.assertTrue(words in found if words else not found, found)


def shaken(issued: Issued) -> SSL.Connection:
    """The client's end of a handshake with a server that has this certificate and its chain."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(issued.certificate)
    context.use_privatekey(issued.key)
    for above in issued.chain[1:]:
        context.add_extra_chain_cert(above)
    server, client = SSL.Connection(context, None), SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(10):
        if all([step(client, server), step(server, client)]):
            return client
    raise AssertionError("the handshake does not end")

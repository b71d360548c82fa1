"""What a sender's own word on TLS takes at each next hop (RFC 8689 4.2.1, 4.2.2, 5)."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from mta.destination import Route
from mta.envelope import RequireTls
from mta.login import Login
from mta.outcome import Deferral
from mta.routing.next_hops import parse_next_hop
from mta.routing.tls_policies import ConfiguredTls
from mta.sts_policy import Mode
from mta.tls.dane_lookup import DaneLookup
from mta.tls.policies import DiscoveredTls
from mta.tls_policy import DEFAULT_POLICY, TlsLevel, TlsPolicy, TlsSource
from tests.tls.test_policies import DANE, ENFORCED, PATTERNS, ROUTE, PoliciesCase

VERIFIED = TlsPolicy(TlsLevel.VERIFY, TlsSource.REQUIRETLS, requiretls=True)
BY_STS = TlsPolicy(TlsLevel.VERIFY, TlsSource.MTA_STS, hosts=PATTERNS, requiretls=True)
BY_DANE = replace(DANE, requiretls=True)


def unvouched(domain: str) -> TlsPolicy:
    return replace(VERIFIED, hosts=(domain,))


class WishCase(PoliciesCase):
    def wish(
        self,
        wish: RequireTls = RequireTls.YES,
        domain: str = "signed.test",
        route: Route = ROUTE,
        *,
        is_report: bool = False,
    ) -> TlsPolicy | Deferral:
        found = self.policies.wished(domain, route, wish, is_report=is_report)
        return self.successResultOf(found) if isinstance(found, Deferred) else found

    def wished(
        self,
        wish: RequireTls = RequireTls.YES,
        domain: str = "signed.test",
        route: Route = ROUTE,
        *,
        is_report: bool = False,
    ) -> TlsPolicy:
        found = self.wish(wish, domain, route, is_report=is_report)
        assert isinstance(found, TlsPolicy), found
        return found


class RequiredTests(WishCase):
    def test_who_vouches(self) -> None:
        """RFC 8689 4.2.1 (2): behind MX records it takes DNSSEC or an MTA-STS policy that vouches for the host."""
        for mode, domain, host, wanted in (
            (None, "signed.test", "mx.signed.test", BY_DANE),
            (None, "signed.test", "plain.signed.test", VERIFIED),
            # A record that is of no use demands TLS alone (RFC 7672 2.2); what the sender demands stands.
            (None, "signed.test", "odd.signed.test", VERIFIED),
            (None, "open.test", "mx.open.test", unvouched("open.test")),
            (Mode.ENFORCE, "signed.test", "mx.signed.test", BY_DANE),
            (Mode.ENFORCE, "signed.test", "plain.signed.test", BY_STS),
            (Mode.ENFORCE, "open.test", "mx.open.test", BY_STS),
            (Mode.TESTING, "signed.test", "plain.signed.test", VERIFIED),
            (Mode.TESTING, "open.test", "mx.open.test", BY_STS),
            (Mode.NONE, "open.test", "mx.open.test", unvouched("open.test")),
        ):
            with self.subTest(mode=mode, domain=domain, host=host):
                self.begin(mode)
                self.assertEqual(wanted, self.at_host(self.wished(domain=domain), host))

    def test_words(self) -> None:
        """The log says that the sender requires it, and what it was proved by."""
        self.assertEqual("requiretls: verify", VERIFIED.why)
        self.assertEqual("requiretls, mta-sts: verify", BY_STS.why)
        self.assertEqual("requiretls, dane", BY_DANE.why)

    def test_allowed_hosts(self) -> None:
        """Where nobody vouches the domain itself is the one host: no MX record that is forged leads elsewhere."""
        found = self.wished(domain="open.test")
        self.assertEqual((True, False), (found.allows_host("open.test"), found.allows_host("mx.open.test")))

    def test_without_validation(self) -> None:
        """While the resolvers do not validate only MTA-STS vouches."""
        self.validates = False
        self.assertEqual(unvouched("signed.test"), self.wished())
        self.begin(Mode.ENFORCE)
        self.assertEqual(BY_STS, self.wished())

    def test_next_hops(self) -> None:
        """A host that a route names needs nobody to vouch for it; what stays within this host needs no TLS."""
        for text, wanted in (
            ("smtp://relay.test:26", VERIFIED),
            ("smtp://127.0.0.1:26", VERIFIED),
            ("smtps://relay.test", VERIFIED),
            ("lmtp://store.test:24", VERIFIED),
            ("lmtp://127.0.0.1:24", TlsPolicy(TlsLevel.NONE)),
            ("lmtp://[::1]:24", TlsPolicy(TlsLevel.NONE)),
            ("lmtp+unix:lmtp.sock", TlsPolicy(TlsLevel.NONE)),
            ("maildir:mail/{user}", TlsPolicy(TlsLevel.NONE)),
            ("discard:", TlsPolicy(TlsLevel.NONE)),
        ):
            with self.subTest(next_hop=text):
                self.assertEqual(wanted, self.wished(route=Route(parse_next_hop(text), "route 1")))
        self.assertEqual(VERIFIED, self.wished(domain="[192.0.2.1]"))
        other = Route(parse_next_hop("mx:signed.test"), "route 1")
        self.assertEqual(("signed.test",), self.wished(domain="else.test", route=other).dane)

    def test_the_operator(self) -> None:
        """A lower level of the operator's is raised; DANE that he demands stays DANE, with nothing in its place."""
        self.begin(domains={"open.test": TlsLevel.NONE, "signed.test": TlsLevel.DANE})
        self.assertEqual(unvouched("open.test"), self.wished(domain="open.test"))
        found = self.at_host(self.wished(), "mx.signed.test")
        assert isinstance(found, TlsPolicy)
        self.assertEqual((TlsLevel.DANE, TlsSource.DOMAIN, True), (found.level, found.source, found.requiretls))
        self.assertEqual("4.7.5", self.deferral(self.at_host(self.wished(), "plain.signed.test"))[0])
        named = Route(parse_next_hop("smtp://mx.signed.test:26"), "route 1", TlsLevel.DANE)
        found = self.at_host(self.wished(domain="else.test", route=named), "mx.signed.test", 26)
        assert isinstance(found, TlsPolicy)
        self.assertEqual((TlsLevel.DANE, True), (found.level, found.requiretls))
        login = Route(parse_next_hop("smtp://relay.test"), "route 1", None, Login("u", "p"))
        self.assertEqual(VERIFIED, self.wished(route=login))

    def test_doubt(self) -> None:
        """What can't be asked now is no reason to give up: the message waits."""
        self.sts.why_unknown = "the web server does not answer"
        found = self.wish(domain="open.test")
        reason = (
            "cannot tell who vouches for the mail hosts of open.test, which REQUIRETLS takes: the web server does not"
            " answer"
        )
        self.assertEqual(("4.7.10", reason), self.deferral(found))
        self.assertEqual(("signed.test",), self.wished().dane)
        self.resolver.fail("signed.test", "MX")
        self.assertEqual("4.4.3", self.deferral(self.wish())[0])

    def test_connections(self) -> None:
        """A connection carries mail that requires all this where it was made for the very same, and weaker mail too."""
        strong, weak = self.wished(domain="open.test"), self.policy("open.test")
        for made_for, mail, wanted in (
            (strong, strong, True),
            (weak, strong, False),
            (strong, weak, True),
            (TlsPolicy(TlsLevel.VERIFY, hosts=strong.hosts), strong, False),
            (ENFORCED, BY_STS, False),
            (unvouched("other.test"), strong, False),
            (BY_DANE, VERIFIED, False),
        ):
            self.assertIs(wanted, mail.is_met_by(made_for, encrypted=True), (made_for, mail))


class ReportTests(WishCase):
    def test_otherwise(self) -> None:
        """RFC 8689 5: a report is required to go the same way, and else goes as other mail to that domain does."""
        for mode, domain, strong, weak in (
            (None, "open.test", unvouched("open.test"), DEFAULT_POLICY),
            (Mode.ENFORCE, "open.test", BY_STS, ENFORCED),
            (None, "signed.test", replace(VERIFIED, dane=("signed.test",)), TlsPolicy(dane=("signed.test",))),
        ):
            self.begin(mode)
            found = self.wished(domain=domain, is_report=True)
            self.assertEqual(
                (replace(strong, hosts=found.hosts), weak), (replace(found, otherwise=None), found.otherwise)
            )
            self.assertEqual(strong.hosts, found.hosts)
        found = self.wished(route=Route(parse_next_hop("smtp://relay.test"), "route 1"), is_report=True)
        self.assertEqual(DEFAULT_POLICY, found.otherwise)

    def test_doubt(self) -> None:
        """It does not wait for what can't be asked."""
        self.sts.why_unknown = "the web server does not answer"
        self.assertEqual(DEFAULT_POLICY, self.wished(domain="open.test", is_report=True).otherwise)


class NotRequiredTests(WishCase):
    def test_policies_are_not_applied(self) -> None:
        """RFC 8689 4.2.2: neither DANE nor MTA-STS keeps such a message back, and neither is asked for."""
        self.begin(Mode.ENFORCE)
        for domain in ("signed.test", "open.test"):
            self.assertIs(DEFAULT_POLICY, self.wished(RequireTls.NO, domain))
        self.assertEqual(([], []), (self.resolver.asked, self.sts.asked))

    def test_the_operator(self) -> None:
        """What the operator demands holds for it as for all mail."""
        levels = {"encrypt.test": TlsLevel.ENCRYPT, "verify.test": TlsLevel.VERIFY, "signed.test": TlsLevel.DANE}
        self.begin(Mode.ENFORCE, domains=levels)
        for domain, level in levels.items():
            found = self.wished(RequireTls.NO, domain)
            self.assertEqual((level, TlsSource.DOMAIN), (found.level, found.source))
            self.assertEqual(self.policy(domain), found)
        self.begin(Mode.ENFORCE, default=TlsLevel.ENCRYPT)
        self.assertEqual(TlsPolicy(TlsLevel.ENCRYPT), self.wished(RequireTls.NO, "open.test"))
        route = Route(parse_next_hop("smtp://relay.test"), "route 1", TlsLevel.VERIFY)
        self.assertEqual(TlsPolicy(TlsLevel.VERIFY, TlsSource.ROUTE), self.wished(RequireTls.NO, route=route))

    def test_ignored(self) -> None:
        """An operator may have the field ignored."""
        self.begin(Mode.ENFORCE)
        configured = ConfiguredTls(TlsLevel.MAY, {})
        self.policies = DiscoveredTls(
            configured, DaneLookup(self.resolver), lambda: self.validates, self.sts, heeds_no=False
        )
        self.assertEqual(ENFORCED, self.wished(RequireTls.NO, "open.test"))

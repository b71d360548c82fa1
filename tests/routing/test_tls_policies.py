"""Which of the configuration's words on TLS counts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.destination import Host, NextHop, Route, Transport
from mta.interfaces import ITlsPolicies
from mta.login import Login
from mta.outcome import Deferral
from mta.routing.next_hops import parse_next_hop
from mta.routing.tls_policies import ConfiguredTls
from mta.tls_policy import DEFAULT_POLICY, Tlsa, TlsLevel, TlsPolicy, TlsSource

MX = Route(NextHop(Transport.MX), "MX lookup")


class ConfiguredTlsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tls = ConfiguredTls(
            TlsLevel.MAY, {"bank.test": TlsLevel.VERIFY, ".gov.test": TlsLevel.ENCRYPT, "old.gov.test": TlsLevel.NONE}
        )

    def test_contract(self) -> None:
        """It is what the queue and the delivery agents ask."""
        self.assertTrue(verifyObject(ITlsPolicies, self.tls))

    def test_domains(self) -> None:
        """A domain has its own level, else that of the nearest domain above with a dot, else the default."""
        for domain, level, source in (
            ("bank.test", TlsLevel.VERIFY, TlsSource.DOMAIN),
            ("a.bank.test", TlsLevel.MAY, TlsSource.DEFAULT),
            ("gov.test", TlsLevel.MAY, TlsSource.DEFAULT),
            ("a.b.gov.test", TlsLevel.ENCRYPT, TlsSource.DOMAIN),
            ("old.gov.test", TlsLevel.NONE, TlsSource.DOMAIN),
            ("else.test", TlsLevel.MAY, TlsSource.DEFAULT),
        ):
            self.assertEqual(TlsPolicy(level, source), self.tls.policy(domain, MX), domain)

    def test_a_route_comes_first(self) -> None:
        """What a route demands holds for all domains that it is for."""
        route = Route(parse_next_hop("smtp://relay.test"), "route 1", TlsLevel.ENCRYPT)
        self.assertEqual(TlsPolicy(TlsLevel.ENCRYPT, TlsSource.ROUTE), self.tls.policy("bank.test", route))

    def test_a_password_wants_a_verified_host(self) -> None:
        """A route with credentials verifies by default, whatever its transport and the domain's word."""
        route = Route(parse_next_hop("smtp://relay.test"), "route 1", None, Login("u", "p"))
        for domain in ("old.gov.test", "else.test"):
            self.assertIs(TlsLevel.VERIFY, self.tls.policy(domain, route).level)

    def test_transports(self) -> None:
        """Without a word LMTP and mailboxes have no TLS, and smtps:// verifies whom it names."""
        for text, level in (
            ("smtp://x.test", TlsLevel.MAY),
            ("smtps://x.test", TlsLevel.VERIFY),
            ("lmtp://x.test:24", TlsLevel.NONE),
            ("lmtp+unix:x", TlsLevel.NONE),
            ("maildir:x", TlsLevel.NONE),
        ):
            self.assertIs(level, self.tls.policy("else.test", Route(parse_next_hop(text), "route 1")).level, text)
        smtps = Route(parse_next_hop("smtps://x.test"), "route 1")
        self.assertIs(TlsLevel.VERIFY, self.tls.policy("old.gov.test", smtps).level)

    def test_the_default_is_one_value(self) -> None:
        """Who demands nothing special gets the one policy that costs no comparison."""
        self.assertIs(DEFAULT_POLICY, self.tls.policy("else.test", MX))

    def test_dane_without_records(self) -> None:
        """A level of DANE without anybody who asks the DNS defers, and never goes on with less."""
        policy = TlsPolicy(TlsLevel.DANE, TlsSource.DOMAIN)
        found = self.tls.at_host(policy, Host("mx.test"))
        assert isinstance(found, Deferral)
        self.assertEqual("DANE is demanded (domain), and no usable TLSA records of mx.test are known", found.reason)
        known = TlsPolicy(TlsLevel.DANE, tlsa=(Tlsa(3, 1, 1, b"x"),))
        self.assertIs(known, self.tls.at_host(known, Host("mx.test")))

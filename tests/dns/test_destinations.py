"""Next hops made concrete, on the fake resolver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mta.destination import Destination, Host, NextHop, Transport
from mta.dns.destinations import Destinations, Located
from mta.dns.fake import FakeResolver
from mta.interfaces import IDestinations
from mta.lookup import MX, Answer, Record, Status
from mta.outcome import Deferral, Failure, Phase, Scope

MX_HOP = NextHop(Transport.MX)
TWO = [MX(20, "mx2.b.test"), MX(10, "mx1.b.test")]


class DestinationsTests(SynchronousTestCase):
    def begin(self, zones: Mapping[tuple[str, str], Answer | list[Record]]) -> None:
        self.clock = Clock()
        self.resolver = FakeResolver(zones)
        self.destinations = Destinations(
            resolver=self.resolver, clock=self.clock, own_names=["MX.Example.org."], size=100
        )

    def located(self, domain: str, next_hop: NextHop = MX_HOP) -> Located:
        found = self.destinations.locate(next_hop, domain)
        return self.successResultOf(found) if isinstance(found, Deferred) else found

    def test_interface(self) -> None:
        """It provides `IDestinations`."""
        self.begin({})
        verifyObject(IDestinations, self.destinations)

    def test_without_dns(self) -> None:
        """Next hops with a host or a mailbox of their own come at once, the same value each time, and ask nothing."""
        self.begin({})
        table = {
            NextHop(Transport.SMTP, "127.0.0.1", 2501): ("127.0.0.1:2501", (Host("127.0.0.1", 2501),)),
            NextHop(Transport.MAILDIR, "mail/{user}"): ("maildir", ()),
            NextHop(Transport.DISCARD): ("discard", ()),
        }
        for next_hop, (site, hosts) in table.items():
            found = self.destinations.locate(next_hop, "b.test")
            self.assertEqual(found, Destination(next_hop, site, hosts))
            self.assertIs(self.destinations.locate(next_hop, "c.test"), found)
        self.assertEqual(self.resolver.asked, [])

    def test_mx(self) -> None:
        """RFC 5321 5.1: the MX hosts, lowest preference first; one question while they are known, then again."""
        self.begin({("b.test", "MX"): Answer(Status.ANSWER, tuple(TWO), ttl=60)})
        first = self.located("b.test")
        expected = (Host("mx1.b.test", 25, 10), Host("mx2.b.test", 25, 20))
        self.assertEqual(first, Destination(MX_HOP, "mx1.b.test,mx2.b.test", expected))
        self.clock.advance(59)
        self.assertIs(self.destinations.locate(MX_HOP, "b.test"), first, "synchronously, from memory")
        self.assertEqual(self.resolver.asked, [("b.test", "MX")])
        self.clock.advance(1)
        self.located("b.test")
        self.assertEqual(len(self.resolver.asked), 2)

    def test_mx_of_another_domain(self) -> None:
        """``mx:DOMAIN`` goes to that domain's hosts, whatever the recipient's domain."""
        self.begin({("b.test", "MX"): [*TWO]})
        next_hop = NextHop(Transport.MX, "b.test")
        self.assertEqual(cast(Destination, self.located("c.test", next_hop)).site, "mx1.b.test,mx2.b.test")
        self.assertEqual(cast(Destination, self.located("d.test", next_hop)).next_hop, next_hop)
        self.assertEqual(self.resolver.asked, [("b.test", "MX")])
        self.assertEqual(cast(Destination, self.located("b.test")).next_hop, MX_HOP)

    def test_shared_site(self) -> None:
        """Domains with the same hosts are one site, whose limits they share."""
        self.begin({("b.test", "MX"): [*TWO], ("c.test", "MX"): [*TWO]})
        sites = {cast(Destination, self.located(domain)).site for domain in ("b.test", "c.test")}
        self.assertEqual(len(sites), 1)

    def test_implicit_mx(self) -> None:
        """RFC 5321 5.1: without MX records the domain itself, where it has an address; the shortest TTL holds."""
        self.begin({("b.test", "A"): Answer(Status.ANSWER, ("192.0.2.1",), ttl=20)})
        self.assertEqual(cast(Destination, self.located("b.test")).hosts, (Host("b.test"),))
        self.assertEqual(set(self.resolver.asked), {("b.test", kind) for kind in ("MX", "A", "AAAA")})
        self.clock.advance(20)
        self.assertIsInstance(self.destinations.locate(MX_HOP, "b.test"), Deferred)

    def test_address_literal(self) -> None:
        """RFC 5321 4.1.3: an address literal is its own host, and the DNS is not asked."""
        self.begin({})
        self.assertEqual(cast(Destination, self.located("[192.0.2.1]")).hosts, (Host("192.0.2.1"),))
        self.assertEqual(cast(Destination, self.located("[IPv6:2001:db8::1]")).hosts, (Host("2001:db8::1"),))
        self.assertEqual(self.resolver.asked, [])

    def test_no_destination(self) -> None:
        """Null MX, no such domain, a loop are failures; silence of the DNS is a deferral that speaks of ourselves."""
        self.begin({("null.test", "MX"): [MX(0, "")], ("loop.test", "MX"): [MX(10, "mx.example.org")]})
        for domain, code in {"null.test": "5.1.10", "nowhere.test": "5.1.2", "loop.test": "5.4.6"}.items():
            found = self.located(domain)
            assert isinstance(found, Failure)
            self.assertEqual((found.enhanced, found.phase), (code, Phase.DNS))
        self.resolver.fail("b.test", "MX")
        deferral = self.located("b.test")
        assert isinstance(deferral, Deferral)
        self.assertIs(deferral.scope, Scope.OURSELVES)

    def test_trouble_is_remembered_shortly(self) -> None:
        """A failing DNS is asked again after five seconds, not for each message."""
        self.begin({})
        self.resolver.fail("b.test", "MX")
        self.located("b.test")
        self.clock.advance(4)
        self.assertIsInstance(self.destinations.locate(MX_HOP, "b.test"), Deferral)
        self.clock.advance(1)
        self.resolver.set("b.test", "MX", TWO)
        self.assertIsInstance(self.located("b.test"), Destination)

    def test_bounded(self) -> None:
        """Memory does not grow with the number of domains."""
        self.begin({})
        for number in range(1000):
            self.located(f"x{number}.test")
        self.assertEqual(len(self.destinations._by_domain), 100)

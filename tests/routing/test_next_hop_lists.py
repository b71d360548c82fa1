"""Several next hops of a route: how they are written, and what they are as hosts and as a site."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.destination import Host, NextHop, Transport
from mta.routing.next_hop_lists import hosts_of, parse_next_hops
from mta.routing.next_hops import parse_next_hop
from mta.routing.site import site_of

A, B, C = "smtp://a.test", "smtp://b.test:2525", "smtp://[2001:db8::1]"


class ListTests(SynchronousTestCase):
    def test_in_order(self) -> None:
        """Without weights the hosts have preferences in the order of the list."""
        found = parse_next_hops((A, B, C))
        self.assertEqual((Host("a.test", 25, 0), Host("b.test", 2525, 1), Host("2001:db8::1", 25, 2)), hosts_of(found))
        self.assertEqual("smtp://a.test:25, smtp://b.test:2525, smtp://[2001:db8::1]:25", str(found))

    def test_by_weight(self) -> None:
        """With weights they share one preference; those of weight 0 come behind."""
        found = parse_next_hops((f"{A}?weight=0", f"{B}?weight=3", f"{C}?weight=1"))
        hosts = (Host("b.test", 2525, 0, 3), Host("2001:db8::1", 25, 0, 1), Host("a.test", 25, 1, 1))
        self.assertEqual(hosts, hosts_of(found))
        self.assertEqual("smtp://b.test:2525?weight=3", str(found.each[1]))

    def test_one(self) -> None:
        """A list of one is that one."""
        self.assertEqual(parse_next_hop(A), parse_next_hops((A,)))
        self.assertEqual(NextHop(Transport.MX), parse_next_hops(("mx:",)))
        self.assertEqual((), hosts_of(parse_next_hop("mx:")))

    def test_site(self) -> None:
        """The same next hops are one site, in any order and with any weights; others are another."""
        site = site_of(parse_next_hops((A, B)))
        self.assertEqual("a.test:25,b.test:2525", site)
        self.assertEqual(site, site_of(parse_next_hops((f"{B}?weight=1", f"{A}?weight=9"))))
        self.assertNotEqual(site, site_of(parse_next_hops(("smtps://a.test:25", "smtps://b.test:2525"))))
        many = parse_next_hops([f"smtp://a-rather-long-name-{number}.test" for number in range(9)])
        self.assertRegex(site_of(many), r"^a-rather-long-name-0.test:25\+8~[0-9a-f]{16}$")

    def test_bad(self) -> None:
        """What can't stand together is told."""
        for texts, reason in (
            ((), "must not be empty"),
            ((A,) * 11, "has 11 next hops, of at most 10"),
            ((A, "smtps://b.test"), '"smtps://b.test:465" stands beside "smtp://a.test:25"; the next hops of a route'),
            ((A, "mx:"), '"mx:" has no place beside others; smtp://, smtps:// and lmtp:// have'),
            ((A, "smtp://a.test:25"), '"smtp://a.test:25" is there twice'),
            ((f"{A}?weight=1", B), f'"{B}" has no weight, and others have'),
            ((A, f"{B}?weight=1"), f'"{A}" has no weight, and others have'),
            ((f"{A}?weight=1",), "has a weight, and there is no other next hop"),
            ((f"{A}?weight=0", f"{B}?weight=0"), "has no weight above 0"),
            ((f"{A}?weight=1001", f"{B}?weight=1"), "must have a weight from 0 to 1000"),
            ((f"{A}?weight=-1", f"{B}?weight=1"), "must have a weight from 0 to 1000"),
            ((f"{A}?weight=", f"{B}?weight=1"), "must have a weight from 0 to 1000"),
            ((f"{A}?wait=1", f"{B}?weight=1"), "must be smtp://HOST:PORT and nothing else"),
            (("mx:?weight=1", A), '"mx:?weight=1": a weight is for smtp://, smtps:// and lmtp://'),
        ):
            error = self.assertRaises(ValueError, parse_next_hops, texts)
            self.assertIn(reason, str(error))

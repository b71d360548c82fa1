"""The order of routing: routes, local domains, the MX lookup."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.destination import NextHop, Route, Transport
from mta.routing.next_hops import parse_next_hop
from mta.routing.patterns import Pattern, parse_pattern
from mta.routing.router import Router, Rule
from tests.routing.test_patterns import ADDRESSES, PATTERNS

LOCAL = Route(NextHop(Transport.MAILDIR, "mail/{user}"), "local domain")
MX = Route(NextHop(Transport.MX), "MX lookup")


def rule(number: int, next_hop: str, *patterns: str) -> Rule:
    return Rule(tuple(map(parse_pattern, patterns)), Route(parse_next_hop(next_hop), f"route {number}"))


def router(*rules: Rule) -> Router:
    return Router(rules, ("local.test",), "mail/{user}", "mx.ours.test")


class RouterTests(SynchronousTestCase):
    def test_order(self) -> None:
        """Routes come before local domains, local domains before the MX lookup, and an earlier route before a later."""
        routes = router(
            rule(1, "discard:", "spam@local.test", "*@.x.test"),
            rule(2, "smtp://h.test", "*@a.x.test", "*@y.test"),
            rule(3, "mx:", "spam@y.test"),
        )
        table = {
            "spam@local.test": "route 1",
            "SPAM@local.test": "route 1",
            "ham@local.test": "local domain",
            "a@a.x.test": "route 1",
            "a@x.test": "MX lookup",
            "a@y.test": "route 2",
            "spam@y.test": "route 2",
            "a@[192.0.2.1]": "MX lookup",
        }
        for _ in range(2):  # the second time from memory
            for text, expected in table.items():
                self.assertEqual(expected, routes.route(parse_address(text)).rule, text)

    def test_an_address_before_its_domain(self) -> None:
        """One address may go elsewhere than its domain where its rule comes first."""
        routes = router(rule(1, "discard:", "spam@y.test"), rule(2, "smtp://h.test", "*"))
        self.assertEqual("route 1", routes.route(parse_address("spam@y.test")).rule)
        self.assertEqual("route 2", routes.route(parse_address("ham@y.test")).rule)
        self.assertEqual("route 2", routes.route(parse_address("ham@local.test")).rule)

    def test_without_routes(self) -> None:
        """Local domains go to the Maildir, postmaster at our name too (RFC 5321 4.5.1), all others by MX."""
        routes = router()
        self.assertEqual(LOCAL, routes.route(parse_address("a@local.test")))
        self.assertEqual(LOCAL, routes.route(parse_address("PostMaster@mx.ours.test")))
        self.assertEqual(MX, routes.route(parse_address("a@mx.ours.test")))
        self.assertEqual(MX, routes.route(parse_address("a@sub.local.test")))

    def test_a_route_takes_postmaster(self) -> None:
        """A route for our host name holds for postmaster as well."""
        routes = router(rule(1, "smtp://h.test", "*@mx.ours.test"))
        self.assertEqual("route 1", routes.route(parse_address("postmaster@mx.ours.test")).rule)

    def test_memory_is_bounded(self) -> None:
        """However many domains are asked about, only so many are remembered."""
        routes = router()
        for number in range(20_000):
            routes.route(Address("a", f"d{number}.test"))
        self.assertLessEqual(routes._by_domain.cache_info().currsize, 10_000)

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(
        st.lists(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=4), max_size=6), st.sampled_from(ADDRESSES)
    )
    def test_first_match_wins(self, patterns: list[list[Pattern]], address: Address) -> None:
        """The route is that of the first rule with a pattern that matches."""
        rules = [
            Rule(tuple(many), Route(NextHop(Transport.DISCARD), f"route {number}"))
            for number, many in enumerate(patterns)
        ]
        expected = next((rule.route for rule in rules if any(item.matches(address) for item in rule.patterns)), MX)
        self.assertEqual(expected, router(*rules).route(address))

"""Addresses of hosts, and their order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.addresses import Preference, addresses_of, balanced, in_trying_order
from mta.destination import Host
from mta.dns.fake import FakeResolver
from mta.outcome import Deferral

HOSTS = [Host(f"mx{number}.test", 25, preference) for number, preference in enumerate((0, 5, 5, 5, 9, 9))]


class OrderTests(SynchronousTestCase):
    def test_groups_stay_in_order(self) -> None:
        """Whatever chance says, a host of higher preference number never comes before one of a lower (RFC 5321 5.1)."""
        orders = set()
        for seed in range(50):
            order = list(in_trying_order(HOSTS, random.Random(seed)))
            self.assertEqual([0, 5, 5, 5, 9, 9], [host.preference for host in order])
            self.assertEqual(set(HOSTS), set(order))
            orders.add(tuple(order))
        self.assertEqual(12, len(orders))

    def test_balanced(self) -> None:
        """The two families take turns; what one lacks the other fills."""
        for first, second, limit, expected in (
            ("abc", "123", 5, "a1b2c"),
            ("abc", "1", 5, "a1bc"),
            ("", "123", 5, "123"),
            ("abcdefgh", "1", 5, "a1bcd"),
            ("", "", 5, ""),
        ):
            self.assertEqual(list(expected), balanced(list(first), list(second), limit))

    @settings(max_examples=50, derandomize=True, deadline=None)
    @given(st.lists(st.integers(0, 99), unique=True), st.lists(st.integers(100, 199), unique=True))
    def test_both_families_get_a_try(self, first: list[int], second: list[int]) -> None:
        """Within the limit no family keeps the other one out, and no address comes twice."""
        chosen = balanced([str(number) for number in first], [str(number) for number in second], 5)
        self.assertEqual(min(5, len(first) + len(second)), len(chosen))
        self.assertEqual(len(chosen), len(set(chosen)))
        if first and second:
            self.assertEqual(2, len({int(number) // 100 for number in chosen[:2]}))


class LookupTests(SynchronousTestCase):
    def found(self, host: str, seed: int = 3, **records: list[str]) -> list[str] | Deferral:
        resolver = FakeResolver({("mx.test", kind): answers for kind, answers in records.items()})
        return self.successResultOf(Deferred.fromCoroutine(addresses_of(Host(host), resolver, random.Random(seed))))

    def test_literals(self) -> None:
        """An address as host is itself, in its shortest spelling."""
        self.assertEqual(["192.0.2.1"], self.found("192.0.2.1"))
        self.assertEqual(["2001:db8::1"], self.found("2001:0db8:0:0::0001"))

    def test_both_families_come_first(self) -> None:
        """Chance decides between the families and within them, so that no address carries all the load."""
        records = {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1", "2001:db8::2"]}
        firsts = set()
        for seed in range(40):
            found = self.found("mx.test", seed, **records)
            assert not isinstance(found, Deferral)
            firsts.add(found[0])
        self.assertEqual({*records["A"], *records["AAAA"]}, firsts)

    def test_preference(self) -> None:
        """The family that is preferred begins, and the other one is tried all the same."""
        records = {("mx.test", "A"): ["192.0.2.1", "192.0.2.2"], ("mx.test", "AAAA"): ["2001:db8::1", "2001:db8::2"]}
        preferences: dict[Preference, str] = {"ipv4": ".:.:", "ipv6": ":.:."}
        for preference, expected in preferences.items():
            for seed in range(10):
                looked_up = addresses_of(Host("mx.test"), FakeResolver(records), random.Random(seed), preference)
                found = self.successResultOf(Deferred.fromCoroutine(looked_up))
                assert not isinstance(found, Deferral)
                self.assertEqual(expected, "".join(":" if ":" in address else "." for address in found))

    def test_records_that_are_no_addresses(self) -> None:
        """Rubbish among the records of a hostile zone is passed over."""
        self.assertEqual(["192.0.2.1"], self.found("mx.test", A=["192.0.2.1", "192.0.2.256", "x; rm -rf", ""]))

    def test_nowhere(self) -> None:
        """A host without addresses is a deferral that says what the DNS said."""
        outcome = self.found("mx.test", TXT=["x"])
        assert isinstance(outcome, Deferral)
        self.assertEqual("mail host mx.test has no address: mx.test has no such record", outcome.reason)

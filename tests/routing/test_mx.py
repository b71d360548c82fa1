"""The mail hosts of a domain: RFC 5321 5.1 and RFC 7505 as a table of answers and what becomes of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.destination import Host
from mta.lookup import MX, Answer, Status
from mta.outcome import Deferral, Failure, Phase, Scope
from mta.routing.mx import MAX_HOSTS, hosts_from, literal_hosts, needs_addresses

OWN = frozenset({"mx.ours.test"})
NODATA = Answer(Status.NODATA, reason="no such record")
NXDOMAIN = Answer(Status.NXDOMAIN, reason="no such name")
SILENCE = Answer(Status.COULD_NOT_ASK, reason="SERVFAIL from 192.0.2.53")
A = Answer(Status.ANSWER, ("192.0.2.1",))
AAAA = Answer(Status.ANSWER, ("2001:db8::1",))


def mx(*records: tuple[int, str]) -> Answer:
    return Answer(Status.ANSWER, tuple(MX(*record) for record in records))


def located(answer: Answer, *addresses: Answer) -> tuple[Host, ...] | Deferral | Failure:
    return hosts_from("d.test", answer, addresses, OWN)


def hosts(*pairs: tuple[int, str]) -> tuple[Host, ...]:
    return tuple(Host(name, 25, preference) for preference, name in pairs)


class HostTests(SynchronousTestCase):
    def test_hosts(self) -> None:
        """The hosts come by preference, without us and what is no nearer, each once (RFC 5321 5.1)."""
        table = {
            "lowest preference first": (mx((20, "b.test"), (10, "a.test")), hosts((10, "a.test"), (20, "b.test"))),
            "equal preference by name": (mx((5, "b.test"), (5, "a.test")), hosts((5, "a.test"), (5, "b.test"))),
            "named twice": (mx((20, "a.test"), (10, "a.test")), hosts((10, "a.test"))),
            "we are last": (mx((10, "a.test"), (20, "mx.ours.test")), hosts((10, "a.test"))),
            "as near as we": (mx((10, "a.test"), (20, "mx.ours.test"), (20, "b.test")), hosts((10, "a.test"))),
            "behind us": (mx((10, "a.test"), (20, "mx.ours.test"), (30, "b.test")), hosts((10, "a.test"))),
            "we are named twice": (mx((9, "mx.ours.test"), (30, "mx.ours.test"), (1, "a.test")), hosts((1, "a.test"))),
            "null MX beside another, RFC 7505 3": (mx((0, ""), (10, "a.test")), hosts((10, "a.test"))),
            "an IPv4 address for a name": (mx((5, "192.0.2.9"), (10, "a.test")), hosts((10, "a.test"))),
            "an IPv6 address for a name": (mx((5, "2001:db8::9"), (10, "a.test")), hosts((10, "a.test"))),
            "a literal for a name": (mx((5, "[192.0.2.9]"), (10, "a.test")), hosts((10, "a.test"))),
            "no name at all": (mx((5, "not a name"), (7, "-x..y"), (10, "a.test")), hosts((10, "a.test"))),
        }
        for case, (answer, expected) in table.items():
            self.assertEqual(expected, located(answer), case)

    def test_a_hundred_at_most(self) -> None:
        """Of an endless list the hundred best are kept, wherever they stand in the answer."""
        found = located(mx(*((number, f"h{number}.test") for number in range(500, 0, -1))))
        assert isinstance(found, tuple)
        self.assertEqual([host.preference for host in found], list(range(1, MAX_HOSTS + 1)))

    def test_we_are_found_beyond_the_hundredth(self) -> None:
        """The cut at ourselves looks at all records, also at those that are not kept."""
        records = [(1, f"h{number:03}.test") for number in range(150)]
        self.assertIsInstance(located(mx(*records, (1, "mx.ours.test"))), Failure)

    def test_implicit_host(self) -> None:
        """A domain without MX records is its own host where it has an address of either kind (RFC 5321 5.1)."""
        for addresses in ((A, AAAA), (A, NODATA), (NODATA, AAAA), (SILENCE, AAAA), (A, SILENCE)):
            self.assertTrue(needs_addresses(NODATA))
            self.assertEqual((Host("d.test"),), located(NODATA, *addresses), addresses)

    def test_an_answer_without_mx_records_is_none(self) -> None:
        """An answer section that holds only other records is the same as no MX record."""
        answer = Answer(Status.ANSWER, ("mail.d.test",))
        self.assertTrue(needs_addresses(answer))
        self.assertEqual((Host("d.test"),), located(answer, A))

    def test_no_addresses_are_needed(self) -> None:
        """Where the MX answer decides, the addresses of the domain are not asked for."""
        for answer in (mx((10, "a.test")), mx((0, "")), NXDOMAIN, SILENCE):
            self.assertFalse(needs_addresses(answer))

    def test_literals(self) -> None:
        """An address literal is the host itself (RFC 5321 4.1.3); a name is not one."""
        self.assertEqual((Host("192.0.2.1"),), literal_hosts("[192.0.2.1]"))
        self.assertEqual((Host("2001:db8::1"),), literal_hosts("[IPv6:2001:db8::1]"))
        self.assertIsNone(literal_hosts("d.test"))


class FailureTests(SynchronousTestCase):
    def test_failures(self) -> None:
        """Only what the DNS says for certain bounces: no such domain, no mail wanted, or we are the best host."""
        table = {
            "RFC 7505 4.1": (mx((0, "")), "5.1.10"),
            "RFC 7505, another preference": (mx((10, "")), "5.1.10"),
            "RFC 7505, twice": (mx((0, ""), (0, "")), "5.1.10"),
            "RFC 3463 3.2": (NXDOMAIN, "5.1.2"),
            "RFC 5321 5.1, only us": (mx((10, "mx.ours.test")), "5.4.6"),
            "RFC 5321 5.1, we are best": (mx((10, "mx.ours.test"), (10, "a.test"), (20, "b.test")), "5.4.6"),
        }
        for case, (answer, enhanced) in table.items():
            found = located(answer)
            assert isinstance(found, Failure), case
            self.assertEqual((enhanced, Phase.DNS), (found.enhanced, found.phase), case)
            self.assertIn("d.test", found.reason)

    def test_our_own_name_as_domain(self) -> None:
        """Mail for our host name without an MX record would come to ourselves: that is a loop."""
        found = hosts_from("mx.ours.test", NODATA, (A,), OWN)
        assert isinstance(found, Failure)
        self.assertEqual("5.4.6", found.enhanced)


class DeferralTests(SynchronousTestCase):
    def test_silence(self) -> None:
        """A resolver that can't say says nothing about the domain: the mail waits, and nobody is blamed."""
        for answers in ((SILENCE,), (NODATA, SILENCE, NODATA), (NODATA, NODATA, SILENCE), (NODATA, NXDOMAIN, SILENCE)):
            found = located(*answers)
            assert isinstance(found, Deferral)
            self.assertEqual(("4.4.3", Scope.OURSELVES), (found.enhanced, found.scope))
            self.assertIn("SERVFAIL from 192.0.2.53", found.reason)

    def test_nothing_there(self) -> None:
        """A name with neither MX nor address may be a zone in the making: it waits."""
        for addresses in ((NODATA, NODATA), (NXDOMAIN, NODATA), (NXDOMAIN, NXDOMAIN), ()):
            found = located(NODATA, *addresses)
            assert isinstance(found, Deferral)
            self.assertEqual("4.4.4", found.enhanced)

    def test_unusable_records_hide_the_implicit_host(self) -> None:
        """MX records that are all unusable never lead to the address of the domain (RFC 5321 5.1)."""
        found = located(mx((10, "192.0.2.1")), A, AAAA)
        assert isinstance(found, Deferral)
        self.assertEqual("4.4.4", found.enhanced)


class PropertyTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a.test", "b.test", "mx.ours.test", "", "1.2.3.4"]))))
    def test_never_to_ourselves(self, records: list[tuple[int, str]]) -> None:
        """Whatever the records say, no host is ours, as near as ours or unusable, and the order is by preference."""
        found = located(mx(*records), A)
        if isinstance(found, tuple):
            ours = min((preference for preference, name in records if name == "mx.ours.test"), default=6)
            self.assertTrue(all(host.preference < ours and host.name.endswith(".test") for host in found))
            self.assertEqual(sorted(host.preference for host in found), [host.preference for host in found])

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.integers(0, 65535), st.text(max_size=300))
    def test_any_exchange(self, preference: int, exchange: str) -> None:
        """Any text as an exchange gives an outcome, never an exception."""
        self.assertIsInstance(located(mx((preference, exchange))), tuple | Deferral | Failure)

"""Counting connections."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from mta.policy import rates
from mta.policy.counts import LocalPlaces
from mta.policy.limits import Connections
from mta.policy.rates import Rates
from mta.policy.verdict import Verdict
from tests.policy.limits import limits_for_tests


def connections(**changed: int) -> Connections:
    return Connections(limits_for_tests(**changed), "mx.example.org")


def codes(counts: Connections, ip: str, now: float = 0.0, trusted: bool = False) -> str:
    reply = counts.admit(ip, trusted, now).reply
    return "ok" if reply is None else f"{reply.code} {reply.enhanced}"


def remembered(counted: object) -> int:
    assert isinstance(counted, (Rates, LocalPlaces))
    return len(counted)


def told(verdict: Verdict) -> str:
    return "ok" if verdict.reply is None else f"{verdict.reply.code} {verdict.reply.enhanced} {verdict.reason}"


class SendingTests(SynchronousTestCase):
    def test_message_rate(self) -> None:
        """A client, of IPv6 a /64, may send so many messages in a minute, and trusted clients any number."""
        counts = connections(message_rate=3)
        many = [told(counts.message(f"2001:db8::{number}", False, 1000.0 + number)) for number in range(5)]
        self.assertEqual(["ok"] * 3 + ["450 4.7.1 limits.message_rate"] * 2, many)
        self.assertEqual("ok", told(counts.message("2001:db8:0:1::1", False, 1005.0)))
        self.assertEqual({"ok"}, {told(counts.message("2001:db8::1", True, 1005.0)) for _ in range(10)})
        # What was refused did not count: two minutes later all are forgotten.
        self.assertEqual("ok", told(counts.message("2001:db8::1", False, 1120.0)))

    def test_recipient_rate(self) -> None:
        """A client may name so many recipients in a minute, one by one or several at once."""
        counts = connections(recipient_rate=10)
        refused = "450 4.7.1 limits.recipient_rate"
        table = [(8, 0.0, "ok"), (3, 1.0, refused), (2, 2.0, "ok"), (1, 3.0, refused), (1, 59.0, refused)]
        # Half of the next minute is over: half of the ten still count.
        table += [(6, 90.0, refused), (5, 90.0, "ok"), (1, 90.0, refused), (11, 500.0, refused), (10, 500.0, "ok")]
        for count, now, expected in table:
            self.assertEqual(expected, told(counts.recipients("192.0.2.1", count, False, now)), (count, now))
        self.assertEqual("ok", told(counts.recipients("192.0.2.1", 99, True, 500.0)))

    def test_a_share_of_a_place_is_a_place(self) -> None:
        """A client that is below its limit by less than one may go on: it never waits for the last fraction."""
        counts = connections(recipient_rate=10)
        self.assertEqual("ok", told(counts.recipients("192.0.2.1", 10, False, 0.0)))
        # 33 seconds into the next minute 4.5 of the ten still count.
        self.assertEqual("ok", told(counts.recipients("192.0.2.1", 6, False, 93.0)))

    def test_off(self) -> None:
        """Without a limit anything goes, and nothing is remembered."""
        counts = connections()
        for _ in range(1000):
            self.assertTrue(counts.message("192.0.2.1", False, 0.0).accepts)
            self.assertTrue(counts.recipients("192.0.2.1", 1000, False, 0.0).accepts)
        self.assertEqual((0, 0), (remembered(counts._messages), remembered(counts._recipients)))

    def test_bounded(self) -> None:
        """However many clients send, the memory for them is bounded."""
        with patch.object(rates, "MAX_CLIENTS", 100):
            counts = connections(message_rate=1, recipient_rate=1)
            for number in range(1000):
                ip = f"10.0.{number // 250}.{number % 250}"
                counts.message(ip, False, 0.0)
                counts.recipients(ip, 1, False, 0.0)
        self.assertEqual((100, 100), (remembered(counts._messages), remembered(counts._recipients)))


class ConnectionsTests(SynchronousTestCase):
    def test_total(self) -> None:
        """The total holds for everybody, trusted or not, and a place that is given back can be taken."""
        counts = connections(connections=2)
        self.assertEqual(["ok", "ok"], [codes(counts, "192.0.2.1"), codes(counts, "192.0.2.2")])
        self.assertEqual("421 4.3.2", codes(counts, "192.0.2.3", trusted=True))
        counts.leave("192.0.2.1")
        self.assertEqual(("ok", 2), (codes(counts, "192.0.2.3"), counts.total))

    def test_per_client(self) -> None:
        """One client has a limit of its own, an IPv6 client by its /64; trusted clients have none."""
        counts = connections(connections_per_client=2)
        for ip in ("2001:db8::1", "2001:db8::2"):
            self.assertEqual("ok", codes(counts, ip))
        self.assertEqual("421 4.7.0", codes(counts, "2001:db8::3"))
        self.assertEqual("ok", codes(counts, "2001:db8:0:1::3"))
        self.assertEqual("ok", codes(counts, "2001:db8::3", trusted=True))
        counts.leave("2001:db8::1")
        counts.leave("2001:db8::3")
        self.assertEqual("ok", codes(counts, "2001:db8::4"))

    def test_rate(self) -> None:
        """A client may connect so often in a minute, wherever the minute begins; what is refused does not count."""
        counts = connections(connection_rate=10)

        def attempt(now: float) -> str:
            verdict = codes(counts, "192.0.2.1", now)
            if verdict == "ok":
                counts.leave("192.0.2.1")
            return verdict

        self.assertEqual(["ok"] * 10 + ["421 4.7.0"] * 5, [attempt(1000.0 + second) for second in range(15)])
        self.assertEqual("ok", codes(counts, "192.0.2.2", 1014.0))
        self.assertEqual("421 4.7.0", attempt(1059.0))
        # Half of the next minute is over: half of the ten still count.
        self.assertEqual(["ok"] * 5 + ["421 4.7.0"], [attempt(1090.0) for _ in range(6)])
        self.assertEqual(["ok"] * 10 + ["421 4.7.0"], [attempt(1300.0) for _ in range(11)])

    def test_clock_set_back(self) -> None:
        """A clock that is set back by an hour locks nobody out."""
        counts = connections(connection_rate=2)
        for _ in range(3):
            codes(counts, "192.0.2.1", 10_000.0)
        self.assertEqual("ok", codes(counts, "192.0.2.1", 6_400.0))

    def test_trusted_have_no_rate(self) -> None:
        """Trusted clients connect as often as they like."""
        counts = connections(connection_rate=1)
        self.assertEqual({"ok"}, {codes(counts, "192.0.2.1", 0.0, trusted=True) for _ in range(50)})

    def test_bounded(self) -> None:
        """However many clients come, the memory for them is bounded, and empty places are forgotten."""
        with patch.object(rates, "MAX_CLIENTS", 100):
            counts = connections()
            for number in range(1000):
                ip = f"10.0.{number // 250}.{number % 250}"
                self.assertEqual("ok", codes(counts, ip))
                counts.leave(ip)
        self.assertEqual((100, 0, 0), (remembered(counts._connecting), remembered(counts._open), counts.total))

    def test_busy_clients_are_remembered(self) -> None:
        """Who comes again and again is not forgotten for those who come once."""
        with patch.object(rates, "MAX_CLIENTS", 10):
            counts = connections(connection_rate=20)
            for number in range(20):
                self.assertEqual("ok", codes(counts, "192.0.2.1"))
                self.assertEqual("ok", codes(counts, f"10.0.0.{number}"))
            self.assertEqual("421 4.7.0", codes(counts, "192.0.2.1"))

    def test_stress(self) -> None:
        """Above four fifths of all connections there is stress."""
        counts = connections(connections=10, connections_per_client=10)
        seen = []
        for _ in range(10):
            codes(counts, "192.0.2.1")
            seen.append(counts.stressed)
        self.assertEqual([False] * 8 + [True] * 2, seen)

    def test_reply_names_the_host(self) -> None:
        """A 421 begins with our name (RFC 5321 4.2.2)."""
        reply = connections(connections=0).admit("192.0.2.1", False, 0.0).reply
        assert reply is not None
        self.assertTrue(reply.encode().startswith(b"421 4.3.2 mx.example.org "))

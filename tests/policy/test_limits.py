"""Counting connections."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from mta.policy import limits
from mta.policy.limits import Connections
from tests.policy.limits import limits_for_tests


def connections(**changed: int) -> Connections:
    return Connections(limits_for_tests(**changed), "mx.example.org")


def codes(counts: Connections, ip: str, now: float = 0.0, trusted: bool = False) -> str:
    reply = counts.admit(ip, trusted, now).reply
    return "ok" if reply is None else f"{reply.code} {reply.enhanced}"


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
        with patch.object(limits, "MAX_CLIENTS", 100):
            counts = connections()
            for number in range(1000):
                ip = f"10.0.{number // 250}.{number % 250}"
                self.assertEqual("ok", codes(counts, ip))
                counts.leave(ip)
        self.assertEqual((100, 0, 0), (len(counts._rates), len(counts._open), counts.total))

    def test_busy_clients_are_remembered(self) -> None:
        """Who comes again and again is not forgotten for those who come once."""
        with patch.object(limits, "MAX_CLIENTS", 10):
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

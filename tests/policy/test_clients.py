"""Networks, and which addresses are one client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.policy.clients import Networks, client_key


class NetworksTests(SynchronousTestCase):
    def test_contains(self) -> None:
        """An address is in a network of its family; an IPv4 client of an IPv6 socket is an IPv4 client."""
        networks = Networks(["127.0.0.0/8", "192.0.2.7", "2001:db8::/32", "fe80::/10"])
        for ip, inside in (
            ("127.0.0.1", True),
            ("::ffff:127.0.0.1", True),
            ("::ffff:7f00:1", True),
            ("192.0.2.7", True),
            ("192.0.2.8", False),
            ("2001:db8::1", True),
            ("2001:DB8:0::1", True),
            ("2001:db9::1", False),
            ("fe80::1%eth0", True),
            ("::1", False),
            ("::127.0.0.1", False),  # IPv4-compatible, long deprecated: no IPv4 client (RFC 4291 2.5.5.1)
        ):
            self.assertEqual(inside, networks.contains(ip), ip)

    def test_no_address(self) -> None:
        """Text that is no address is in no network, not even in one that holds everything."""
        everything = Networks(["0.0.0.0/0", "::/0"])
        for text in ("", "unknown", "/run/socket", "127.1", "0177.0.0.1", "127.0.0.1 ", "::1\n", "1" * 5000):
            self.assertFalse(everything.contains(text), text)

    def test_bad_network(self) -> None:
        """A network that is none is an error at once."""
        for text in ("127.0.0.1/8", "localhost", "1.2.3.4/33"):
            self.assertRaises(ValueError, Networks, [text])

    def test_client_key(self) -> None:
        """IPv4 clients count by address, IPv6 clients by /64, whatever the spelling."""
        for one, other, same in (
            ("192.0.2.1", "192.0.2.1", True),
            ("192.0.2.1", "192.0.2.2", False),
            ("192.0.2.1", "::ffff:192.0.2.1", True),
            ("2001:db8::1", "2001:db8:0:0:ffff::1", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("unknown", "unknown", True),
        ):
            self.assertEqual(same, client_key(one) == client_key(other), (one, other))

"""The names of sites."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.destination import Host, NextHop, Transport
from mta.routing.site import MAX_NAME, site_name, site_of


class SiteTests(SynchronousTestCase):
    def test_the_set_of_hosts_decides(self) -> None:
        """Order and preference of the MX records do not matter: domains with the same hosts share one site."""
        one = site_name((Host("b.test", 25, 10), Host("a.test", 25, 20)))
        other = site_name((Host("a.test", 25, 5), Host("b.test", 25, 5)))
        self.assertEqual("a.test,b.test", one)
        self.assertEqual(one, other)

    def test_other_hosts_are_another_site(self) -> None:
        """A host more, or another port, is another site."""
        names = {
            site_name(hosts)
            for hosts in (
                (Host("a.test"),),
                (Host("a.test", 2525),),
                (Host("a.test"), Host("b.test")),
                (Host("2001:db8::1"),),
                (Host("2001:db8::1", 2525),),
            )
        }
        self.assertEqual({"a.test", "a.test:2525", "a.test,b.test", "[2001:db8::1]", "[2001:db8::1]:2525"}, names)

    def test_a_long_name_is_shortened(self) -> None:
        """Many hosts make a short name that is the same each time and differs where one host does."""
        many = [Host(f"mx{number:02}.mail.provider.example") for number in range(20)]
        name = site_name(many)
        self.assertRegex(name, r"\Amx00\.mail\.provider\.example\+19~[0-9a-f]{16}\Z")
        self.assertLess(len(name), MAX_NAME)
        self.assertEqual(name, site_name(reversed(many)))
        self.assertNotEqual(name, site_name([*many[:-1], Host("mx99.mail.provider.example")]))

    def test_next_hops(self) -> None:
        """A next hop of the configuration is its own site."""
        table = {
            NextHop(Transport.SMTP, "127.0.0.1", 2501): "127.0.0.1:2501",
            NextHop(Transport.SMTP, "::1", 25): "[::1]:25",
            NextHop(Transport.LMTP, "127.0.0.1", 2501): "lmtp://127.0.0.1:2501",
            NextHop(Transport.LMTP_UNIX, "run/lmtp"): "lmtp+unix:run/lmtp",
            NextHop(Transport.MAILDIR, "mail/{user}"): "maildir",
            NextHop(Transport.DISCARD): "discard",
            NextHop(Transport.PIPE, "a.b"): "pipe:a.b",
            NextHop(Transport.HTTPS, "//x.test:8443/secret?y"): "https://x.test:8443",
            NextHop(Transport.HTTP, "//[::1]/"): "http://[::1]",
            NextHop(Transport.ERROR, "550 5.1.1 No"): "error",
        }
        self.assertEqual(list(table.values()), [site_of(next_hop) for next_hop in table])

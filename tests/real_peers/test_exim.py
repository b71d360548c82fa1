"""
Exim as client and as server. Needs Debian's exim4-daemon-light, and root.

Its client sends BDAT wherever CHUNKING is offered: so it is the one that puts our server's BDAT to the test.
"""

from __future__ import annotations

from tests.end_to_end.daemon import free_port, route
from tests.real_peers.crossing import EIGHT_BIT, FROM_US, LMTP, TO_US, RealPeerCase, body, crossing, eight_bit
from tests.real_peers.exim import Exim
from tests.real_peers.wiretap import Wiretap


class FromEximTests(RealPeerCase):
    def _pair(self) -> tuple[Exim, Wiretap]:
        self.mta = self.daemon()
        tap = self.tap(self.mta.port)
        return self.exim(tap.port), tap

    @crossing("Exim", TO_US, "CHUNKING", "SIZE", "PIPELINING")
    def test_chunking(self) -> None:
        """What Exim sends by BDAT arrives octet for octet, dots and all (RFC 3030 2)."""
        exim, tap = self._pair()
        content = eight_bit("carol@example.org", "alice@local.test")
        self.send(exim.port, "carol@example.org", "alice@local.test", content, mail=("BODY=8BITMIME",))
        message = self.mail_in(self.mta, "alice", tap, exim)
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(message))
        self.assert_client_said(tap, "BDAT ", " LAST\r\n", "SIZE=")
        self.assert_client_did_not_say(tap, "DATA\r\n")

    @crossing("Exim", TO_US, "CHUNKING")
    def test_several_chunks(self) -> None:
        """A message of megabytes comes as several chunks and stays whole (RFC 3030 2)."""
        exim, tap = self._pair()
        lines = EIGHT_BIT * 40_000  # over 2 MB
        content = eight_bit("carol@example.org", "alice@local.test") + lines.encode()
        self.send(exim.port, "carol@example.org", "alice@local.test", content, mail=("BODY=8BITMIME",))
        message = self.mail_in(self.mta, "alice", tap, exim)
        self.assertTrue((EIGHT_BIT + lines).replace("\r\n", "\n") == body(message))
        self.assertGreater(tap.client.count("BDAT "), 1)

    @crossing("Exim", TO_US, "SMTPUTF8")
    def test_smtputf8(self) -> None:
        """An international sender's mail is taken (RFC 6531)."""
        exim, tap = self._pair()
        content = eight_bit("jörg@example.org", "alice@local.test", "Grüße")
        self.send(exim.port, "jörg@example.org", "alice@local.test", content, mail=("BODY=8BITMIME", "SMTPUTF8"))
        message = self.mail_in(self.mta, "alice", tap, exim)
        self.assertIn("Subject: Grüße\n", message)
        self.assert_client_said(tap, " SMTPUTF8")

    @crossing("Exim", TO_US, "DSN")
    def test_dsn(self) -> None:
        """A success report that Exim passes on to us is made by us (RFC 3461 5.2.2)."""
        exim, tap = self._pair()
        self.send(
            exim.port,
            "bob@local.test",
            "alice@local.test",
            b"Subject: hi\r\n\r\nhello\r\n",
            mail=("RET=HDRS", "ENVID=QQ+2B314159"),
            rcpt=("NOTIFY=SUCCESS", "ORCPT=rfc822;alice@local.test"),
        )
        self.assert_reported(self.mail_in(self.mta, "bob", tap, exim), "delivered", "alice@local.test", r"QQ\+314159")
        self.assert_client_said(tap, "RET=HDRS", "ENVID=QQ+2B314159", "NOTIFY=SUCCESS", "ORCPT=rfc822;alice@local.test")

    @crossing("Exim", TO_US, "LMTP")
    def test_lmtp(self) -> None:
        """By LMTP and BDAT at once, each recipient gets a reply after the last chunk (RFC 2033 4.2, RFC 3030 2)."""
        port = free_port()
        daemon = self.daemon(LMTP.format(port=port))
        tap = self.tap(port)
        exim = self.exim(tap.port, "lmtp")
        with self.client(exim.port) as client:
            content = eight_bit("carol@example.org", "alice@local.test")
            client.sendmail("carol@example.org", ["alice@local.test", "nobody@local.test", "bob@local.test"], content)
        for user in ("alice", "bob"):
            self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(self.mail_in(daemon, user, tap, exim)))
        self.assert_client_said(tap, "LHLO mail.exim.test\r\n", "BDAT ", " LAST\r\n")
        first, _quit, _report = tap.server.partition("221 ")  # behind it comes Exim's own report on nobody
        self.assertEqual(2, first.count("queued as"), tap.transcript())
        self.assertEqual(1, first.count("550 5.1.1"), tap.transcript())


class ToEximTests(RealPeerCase):
    def _pair(self, more: str = "") -> tuple[Exim, Wiretap]:
        tap = self.tap()
        self.mta = self.daemon(route("*@exim.test", tap.port) + more)
        exim = self.exim(self.mta.port)
        tap.target = exim.port
        return exim, tap

    @crossing("Exim", FROM_US, "8BITMIME", "SIZE", "PIPELINING")
    def test_eight_bit(self) -> None:
        """8-bit content is declared where Exim offers it, and arrives octet for octet (RFC 6152, 1870, 2920)."""
        exim, tap = self._pair()
        content = eight_bit("alice@local.test", "dave@exim.test")
        self.send(self.mta.port, "alice@local.test", "dave@exim.test", content, mail=("BODY=8BITMIME",))
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(self.arrived(exim.received, tap, exim)))
        self.assert_client_said(tap, "BODY=8BITMIME", "SIZE=", "DATA\r\n")

    @crossing("Exim", FROM_US, "CHUNKING")
    def test_chunking(self) -> None:
        """With client.bdat, a message of several chunks goes by BDAT and arrives octet for octet (RFC 3030 2)."""
        exim, tap = self._pair("\n[client]\nbdat = true\n")
        lines = EIGHT_BIT * 12_000  # over 600 KB
        content = eight_bit("alice@local.test", "dave@exim.test") + lines.encode()
        self.send(self.mta.port, "alice@local.test", "dave@exim.test", content, mail=("BODY=8BITMIME",))
        message = self.arrived(exim.received, tap, exim)
        self.assertTrue((EIGHT_BIT + lines).replace("\r\n", "\n") == body(message))
        self.assertRegex(tap.client, r"BDAT \d+ LAST\r\n")
        self.assert_client_did_not_say(tap, "DATA\r\n")

    @crossing("Exim", FROM_US, "SMTPUTF8")
    def test_smtputf8(self) -> None:
        """An international recipient gets their mail (RFC 6531)."""
        exim, tap = self._pair()
        content = eight_bit("alice@local.test", "dörte@exim.test", "Grüße")
        self.send(self.mta.port, "alice@local.test", "dörte@exim.test", content, mail=("BODY=8BITMIME", "SMTPUTF8"))
        message = self.arrived(exim.received, tap, exim).decode()
        self.assertIn("for dörte@exim.test;", message)
        self.assertIn("Subject: Grüße\n", message)
        self.assert_client_said(tap, " SMTPUTF8", "RCPT TO:<dörte@exim.test>")

    @crossing("Exim", FROM_US, "DSN")
    def test_dsn(self) -> None:
        """What the sender asked for reaches Exim, which reports in our stead (RFC 3461 5.2.1)."""
        # Without "+": Exim 4.96 reports ENVID and ORCPT in xtext, as they came.
        exim, tap = self._pair()
        self.send(
            self.mta.port,
            "alice@local.test",
            "dave@exim.test",
            b"Subject: hi\r\n\r\nhello\r\n",
            mail=("RET=HDRS", "ENVID=QQ314159"),
            rcpt=("NOTIFY=SUCCESS", "ORCPT=rfc822;david@example.org"),
        )
        report = self.mail_in(self.mta, "alice", tap, exim)
        self.assert_reported(report, "delivered", "dave@exim.test", "QQ314159")
        self.assert_client_said(tap, "RET=HDRS", "ENVID=QQ314159", "NOTIFY=SUCCESS", "ORCPT=rfc822;david@example.org")

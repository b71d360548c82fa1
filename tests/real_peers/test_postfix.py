"""Postfix as client and as server. Needs Debian's postfix, and root."""

from __future__ import annotations

from tests.end_to_end.daemon import eventually, free_port, route
from tests.real_peers.crossing import EIGHT_BIT, FROM_US, LMTP, TO_US, RealPeerCase, body, crossing, eight_bit, parsed
from tests.real_peers.postfix import Postfix
from tests.real_peers.wiretap import Wiretap


class FromPostfixTests(RealPeerCase):
    def _pair(self) -> tuple[Postfix, Wiretap]:
        self.mta = self.daemon()
        tap = self.tap(self.mta.port)
        return self.postfix(f"smtp:[127.0.0.1]:{tap.port}"), tap

    @crossing("Postfix", TO_US, "8BITMIME", "SIZE", "PIPELINING")
    def test_eight_bit(self) -> None:
        """8-bit content from sendmail(1) arrives octet for octet, declared as such (RFC 6152, 1870, 2920)."""
        postfix, tap = self._pair()
        content = eight_bit("carol@example.org", "alice@local.test").replace(b"\r\n", b"\n")
        # -i: a line of one dot is content, not the end.
        postfix.sendmail("-i", "-f", "carol@example.org", "alice@local.test", content=content)
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(self.mail_in(self.mta, "alice", tap, postfix)))
        self.assert_client_said(tap, "BODY=8BITMIME", "SIZE=", "RCPT TO:<alice@local.test>")

    @crossing("Postfix", TO_US, "SMTPUTF8")
    def test_smtputf8(self) -> None:
        """An international sender's mail is taken (RFC 6531)."""
        postfix, tap = self._pair()
        content = eight_bit("jörg@example.org", "alice@local.test", "Grüße").replace(b"\r\n", b"\n")
        postfix.sendmail("-i", "-f", "jörg@example.org", "alice@local.test", content=content)
        message = self.mail_in(self.mta, "alice", tap, postfix)
        self.assertIn("Subject: Grüße\n", message)
        self.assertRegex(message, r"with U(TF8)?SMTP")  # RFC 6531 4.3
        self.assert_client_said(tap, " SMTPUTF8")

    @crossing("Postfix", TO_US, "DSN")
    def test_dsn(self) -> None:
        """`sendmail -N success -V ID` makes us report the delivery to the sender (RFC 3461 4.1, 4.4)."""
        postfix, tap = self._pair()
        options = ("-N", "success", "-R", "hdrs", "-V", "QQ+314159")
        postfix.sendmail(*options, "-f", "bob@local.test", "alice@local.test", content=b"Subject: hi\n\nhello\n")
        self.assert_reported(
            self.mail_in(self.mta, "bob", tap, postfix), "delivered", "alice@local.test", r"QQ\+314159"
        )
        self.assert_client_said(tap, "RET=HDRS", "ENVID=QQ+2B314159", "NOTIFY=SUCCESS", "ORCPT=rfc822;alice@local.test")

    @crossing("Postfix", TO_US, "LMTP")
    def test_lmtp(self) -> None:
        """Postfix's LMTP client gets one reply for each recipient (RFC 2033 4.2)."""
        port = free_port()
        daemon = self.daemon(LMTP.format(port=port))
        tap = self.tap(port)
        postfix = self.postfix(f"lmtp:inet:127.0.0.1:{tap.port}")
        content = eight_bit("carol@example.org", "alice@local.test").replace(b"\r\n", b"\n")
        postfix.sendmail("-i", "-f", "carol@example.org", "alice@local.test", "bob@local.test", content=content)
        for user in ("alice", "bob"):
            self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(self.mail_in(daemon, user, tap, postfix)))
        eventually(lambda: postfix.told().count("status=sent") == 2, "Postfix's two deliveries")
        self.assert_client_said(tap, "LHLO mail.postfix.test")


class ToPostfixTests(RealPeerCase):
    def _pair(self, more: str = "") -> tuple[Postfix, Wiretap]:
        tap = self.tap()
        self.mta = self.daemon(route("*@postfix.test", tap.port) + more)
        postfix = self.postfix(f"smtp:[127.0.0.1]:{self.mta.port}")
        tap.target = postfix.port
        return postfix, tap

    @crossing("Postfix", FROM_US, "8BITMIME", "SIZE", "PIPELINING")
    def test_eight_bit(self) -> None:
        """8-bit content is declared where Postfix offers it, and arrives octet for octet (RFC 6152, 1870, 2920)."""
        postfix, tap = self._pair()
        content = eight_bit("alice@local.test", "dave@postfix.test")
        self.send(self.mta.port, "alice@local.test", "dave@postfix.test", content, mail=("BODY=8BITMIME",))
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(self.arrived(postfix.received, tap, postfix)))
        self.assert_client_said(tap, "BODY=8BITMIME", "SIZE=", "DATA\r\n")

    @crossing("Postfix", FROM_US, "CHUNKING")
    def test_chunking(self) -> None:
        """With client.bdat, a message of several chunks goes by BDAT and arrives octet for octet (RFC 3030 2)."""
        postfix, tap = self._pair("\n[client]\nbdat = true\n")
        lines = EIGHT_BIT * 12_000  # over 600 KB
        content = eight_bit("alice@local.test", "dave@postfix.test") + lines.encode()
        self.send(self.mta.port, "alice@local.test", "dave@postfix.test", content, mail=("BODY=8BITMIME",))
        message = self.arrived(postfix.received, tap, postfix)
        self.assertEqual((EIGHT_BIT + lines).replace("\r\n", "\n"), body(message))
        self.assertRegex(tap.client, r"BDAT \d+ LAST\r\n")
        self.assert_client_did_not_say(tap, "DATA\r\n")

    @crossing("Postfix", FROM_US, "no BINARYMIME")
    def test_binary(self) -> None:
        """Binary content for Postfix, which does not offer BINARYMIME, goes back to the sender (RFC 3030 3)."""
        postfix, tap = self._pair()
        content = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n\r\xff"
        self.send_binary(self.mta.port, "alice@local.test", "dave@postfix.test", content)
        report = self.mail_in(self.mta, "alice", tap, postfix)
        self.assertRegex(report, r"Status: 5\.6\.[13]\n")
        self.assertEqual([], postfix.received())
        self.assert_client_did_not_say(tap, "DATA\r\n", "BDAT")

    @crossing("Postfix", FROM_US, "SMTPUTF8")
    def test_smtputf8(self) -> None:
        """An international recipient gets their mail (RFC 6531)."""
        postfix, tap = self._pair()
        content = eight_bit("alice@local.test", "dörte@postfix.test", "Grüße")
        self.send(self.mta.port, "alice@local.test", "dörte@postfix.test", content, mail=("BODY=8BITMIME", "SMTPUTF8"))
        message = self.arrived(postfix.received, tap, postfix).decode()
        self.assertIn("Delivered-To: dörte@postfix.test\n", message)
        self.assertIn("Subject: Grüße\n", message)
        self.assert_client_said(tap, " SMTPUTF8", "RCPT TO:<dörte@postfix.test>")

    @crossing("Postfix", FROM_US, "DSN")
    def test_dsn(self) -> None:
        """What the sender asked for reaches Postfix, which reports in our stead (RFC 3461 5.2.1)."""
        postfix, tap = self._pair()
        self.send(
            self.mta.port,
            "alice@local.test",
            "dave@postfix.test",
            b"Subject: hi\r\n\r\nhello\r\n",
            mail=("RET=HDRS", "ENVID=QQ+2B314159"),
            rcpt=("NOTIFY=SUCCESS", "ORCPT=rfc822;david+2B1@example.org"),
        )
        report = self.mail_in(self.mta, "alice", tap, postfix)
        self.assert_reported(report, "delivered", "dave@postfix.test", r"QQ\+314159")
        self.assertIn("mail.postfix.test", str(parsed(report)["From"]))
        self.assertIn("Original-Recipient: rfc822;david+1@example.org", report)
        self.assert_client_said(
            tap, "RET=HDRS", "ENVID=QQ+2B314159", "NOTIFY=SUCCESS", "ORCPT=rfc822;david+2B1@example.org"
        )

    @crossing("Postfix", FROM_US, "ENHANCEDSTATUSCODES")
    def test_refused(self) -> None:
        """What Postfix refuses goes back to the sender, with Postfix's words and status (RFC 3464 2.3)."""
        tap = self.tap()
        daemon = self.daemon(route("*@postfix.test", tap.port))
        postfix = self.postfix(more="message_size_limit = 2000\nsmtpd_discard_ehlo_keywords = size\n")
        tap.target = postfix.port
        self.send(daemon.port, "alice@local.test", "dave@postfix.test", b"Subject: hi\r\n\r\n" + b"hello\r\n" * 1000)
        report = self.mail_in(daemon, "alice", tap, postfix)
        self.assertIn("Status: 5.3.4\n", report)
        self.assertIn("Error: message file too big", report)

"""Mail that comes from one peer and goes to another through our daemon. Needs Debian's postfix and Exim, and root."""

from __future__ import annotations

from email.message import Message

from tests.end_to_end.daemon import route
from tests.real_peers.crossing import EIGHT_BIT, THROUGH_US, RealPeerCase, body, crossing, eight_bit, parsed


class ChainTests(RealPeerCase):
    @crossing("Postfix to Exim", THROUGH_US, "8BITMIME", "SMTPUTF8", "DSN")
    def test_postfix_to_exim(self) -> None:
        """Content, international addresses and DSN parameters are at the far end what they were at the near one."""
        tap_out = self.tap()
        daemon = self.daemon(route("*@exim.test", tap_out.port))
        tap_in = self.tap(daemon.port)
        postfix, exim = self.postfix(f"smtp:[127.0.0.1]:{tap_in.port}"), self.exim()
        tap_out.target = exim.port
        content = eight_bit("jörg@postfix.test", "dörte@exim.test", "Grüße").replace(b"\r\n", b"\n")
        options = ("-i", "-N", "failure,delay", "-R", "full", "-V", "QQ314159", "-f", "jörg@postfix.test")
        postfix.sendmail(*options, "dörte@exim.test", content=content)
        message = self.arrived(exim.received, tap_out, exim).decode()
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(message))
        self.assertIn("Return-path: <jörg@postfix.test>\n", message)
        for tap in (tap_in, tap_out):
            self.assert_client_said(tap, " SMTPUTF8", "BODY=8BITMIME", "RET=FULL", "ENVID=QQ314159")
            self.assertRegex(tap.client, "NOTIFY=(FAILURE,DELAY|DELAY,FAILURE)")
            self.assertRegex(tap.client, r"ORCPT=utf-8;d(ö|\\x\{F6\})rte@exim\.test")

    @crossing("Exim to Postfix", THROUGH_US, "CHUNKING", "8BITMIME")
    def test_exim_to_postfix(self) -> None:
        """What comes in by BDAT goes out by BDAT, octet for octet (RFC 3030 2)."""
        tap_out = self.tap()
        daemon = self.daemon(route("*@postfix.test", tap_out.port) + "\n[client]\nbdat = true\n")
        tap_in = self.tap(daemon.port)
        exim, postfix = self.exim(tap_in.port), self.postfix()
        tap_out.target = postfix.port
        lines = EIGHT_BIT * 12_000
        content = eight_bit("carol@example.org", "dave@postfix.test") + lines.encode()
        self.send(exim.port, "carol@example.org", "dave@postfix.test", content, mail=("BODY=8BITMIME",))
        message = self.arrived(postfix.received, tap_out, postfix)
        self.assertTrue((EIGHT_BIT + lines).replace("\r\n", "\n") == body(message))
        for tap in (tap_in, tap_out):
            self.assert_client_said(tap, "BDAT ", " LAST\r\n")
            self.assert_client_did_not_say(tap, "DATA\r\n")

    @crossing("Postfix", THROUGH_US, "international report")
    def test_international_report(self) -> None:
        """A failure of an international address comes back to its sender as RFC 6533 has it."""
        tap_in, tap_out, tap_back = self.tap(), self.tap(), self.tap()
        daemon = self.daemon(route("*@exim.test", tap_out.port) + route("*@postfix.test", tap_back.port))
        tap_in.target = daemon.port
        postfix = self.postfix(f"smtp:[127.0.0.1]:{tap_in.port}")
        tap_back.target = postfix.port
        # smtp-sink offers no SMTPUTF8.
        tap_out.target = self.plain_sink()
        content = eight_bit("jörg@postfix.test", "dörte@exim.test", "Grüße").replace(b"\r\n", b"\n")
        postfix.sendmail("-i", "-f", "jörg@postfix.test", "dörte@exim.test", content=content)
        report = parsed(self.arrived(postfix.received, tap_back, postfix))
        self.assert_client_said(tap_back, "MAIL FROM:<> ", " SMTPUTF8", "RCPT TO:<jörg@postfix.test>")
        kinds = [part.get_content_type() for part in report.iter_parts()]
        self.assertEqual(["text/plain", "message/global-delivery-status"], kinds[:2])
        self.assertIn(kinds[2], ("message/global", "message/global-headers"))
        status = bytes(_part(report, "message/global-delivery-status"))
        self.assertRegex(status.decode(), r"(?m)^Final-Recipient: utf-8; ?dörte@exim\.test$")
        self.assertIn(b"Status: 5.6.7\n", status)

    @crossing("Postfix", THROUGH_US, "ENHANCEDSTATUSCODES")
    def test_our_refusal_in_their_report(self) -> None:
        """Our refusal of one recipient is in Postfix's report word for word; the other gets the mail (RFC 2034)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        postfix = self.postfix(f"smtp:[127.0.0.1]:{tap.port}")
        content = b"Subject: hi\n\nhello\n"
        postfix.sendmail("-f", "bob@local.test", "alice@local.test", "nobody@local.test", content=content)
        self.mail_in(daemon, "alice", tap, postfix)
        report = self.mail_in(daemon, "bob", tap, postfix)
        self.assertIn("Status: 5.1.1\n", report)
        self.assertIn("Diagnostic-Code: smtp; 550 5.1.1 ", report)


def _part(message: Message, kind: str) -> Message:
    """The first part of a type."""
    return next(part for part in message.walk() if part.get_content_type() == kind)

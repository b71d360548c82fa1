"""Dovecot's LMTP server as the final delivery of our mail. Needs Debian's dovecot-lmtpd, and root."""

from __future__ import annotations

from tests.end_to_end.daemon import eventually
from tests.real_peers.crossing import EIGHT_BIT, FROM_US, RealPeerCase, body, crossing, eight_bit
from tests.real_peers.dovecot import Dovecot
from tests.real_peers.wiretap import Wiretap

_RULE = '\n[[route]]\nrecipients = ["*@dovecot.test"]\nnext_hop = "{next_hop}"\n'


class ToDovecotTests(RealPeerCase):
    def _delivered(self, next_hop: str, dovecot: Dovecot, tap: Wiretap, more: str = "") -> None:
        """Both recipients of a message get it, octet for octet, and the sender a report of final delivery."""
        daemon = self.daemon(_RULE.format(next_hop=next_hop) + more)
        content = eight_bit("alice@local.test", "dave@dovecot.test")
        with self.client(daemon.port) as client:
            refused = client.sendmail(
                "alice@local.test",
                ["dave@dovecot.test", "erin@dovecot.test"],
                content,
                ["BODY=8BITMIME", "ENVID=QQ314159"],
                ["NOTIFY=SUCCESS,FAILURE"],
            )
        self.assertEqual({}, refused)
        report = self.mail_in(daemon, "alice", tap, dovecot)
        for recipient in ("dave@dovecot.test", "erin@dovecot.test"):
            self.assert_reported(report, "delivered", recipient, "QQ314159")
        received = eventually(lambda: len(found := dovecot.received()) == 2 and found, "two messages")
        assert received
        for message in received:
            self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(message))
            # RFC 5321 4.4: the final delivery system adds it, so we must not.
            self.assertEqual(1, message.count(b"Return-Path: <alice@local.test>"), message)
        self.assertEqual([], daemon.queued())
        self.assert_client_said(tap, "LHLO mx.test\r\n", "BODY=8BITMIME")
        self.assert_client_did_not_say(tap, "EHLO", "NOTIFY")

    @crossing("Dovecot", FROM_US, "LMTP", "8BITMIME", "PIPELINING")
    def test_tcp(self) -> None:
        """Over TCP, each recipient's own reply after the dot counts (RFC 2033 4.2)."""
        dovecot = self.dovecot()
        tap = self.tap(dovecot.port)
        self._delivered(f"lmtp://127.0.0.1:{tap.port}", dovecot, tap)
        self.assert_client_said(tap, "DATA\r\n")

    @crossing("Dovecot", FROM_US, "LMTP over a UNIX socket")
    def test_unix_socket(self) -> None:
        """Over a UNIX socket it is the same (RFC 2033)."""
        dovecot = self.dovecot()
        tap = self.tap(dovecot.socket, self.top / "tap")
        self._delivered(f"lmtp+unix:{self.top / 'tap'}", dovecot, tap)

    @crossing("Dovecot", FROM_US, "CHUNKING")
    def test_chunking(self) -> None:
        """With client.bdat it goes by BDAT, and there is still a reply for each recipient (RFC 3030 2)."""
        dovecot = self.dovecot()
        tap = self.tap(dovecot.port)
        self._delivered(f"lmtp://127.0.0.1:{tap.port}", dovecot, tap, "\n[client]\nbdat = true\n")
        self.assert_client_said(tap, "BDAT ", " LAST\r\n")

    @crossing("Dovecot", FROM_US, "a refused recipient")
    def test_refused_recipient(self) -> None:
        """Whom Dovecot does not know goes back to the sender with its words; the others get the mail (RFC 2033 4.2)."""
        dovecot = self.dovecot()
        tap = self.tap(dovecot.port)
        daemon = self.daemon(_RULE.format(next_hop=f"lmtp://127.0.0.1:{tap.port}"))
        with self.client(daemon.port) as client:
            recipients = ["dave@dovecot.test", "frank@dovecot.test", "erin@dovecot.test"]
            client.sendmail("alice@local.test", recipients, b"Subject: hi\r\n\r\nhello\r\n")
        report = self.mail_in(daemon, "alice", tap, dovecot)
        self.assert_reported(report, "failed", "frank@dovecot.test")
        self.assertIn("Status: 5.1.1\n", report)
        self.assertNotRegex(report, "(?i)final-recipient: rfc822; ?(dave|erin)@")
        eventually(lambda: len(dovecot.received()) == 2 and not daemon.queued(), "two messages, and an empty queue")

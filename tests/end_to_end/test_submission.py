"""Submission to the real daemon over a real socket: STARTTLS, then AUTH."""

from __future__ import annotations

import smtplib
import ssl

from mta.tls.pairs import Files
from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, free_port
from tests.server.tls_client import authority, issue, write

MORE = """
[[listener]]
name = "submission"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "submission"
auth_without_tls = true

[auth]
backend = "file"
failure_delay = "0s"

[[tls.certificates]]
certificate = "{files.certificate}"
key = "{files.key}"
"""


class SubmissionTests(EndToEndCase):
    def submission(self) -> tuple[Daemon, smtplib.SMTP]:
        """A daemon that trusts nobody but alice with her password, and a client of its port for submission."""
        files: Files = write(self.top / "tls", issue("mx.test", "127.0.0.1"))
        port = free_port()
        daemon = Daemon(self.top, MORE.format(port=port, files=files))
        config = daemon.config.read_text()
        daemon.config.write_text(config.replace('networks = ["127.0.0.0/8"]', "networks = []"))
        self.addCleanup(daemon.stop, 9)
        daemon.start()
        self.assertEqual(b"", daemon.mta("user", "add", "alice", content=b"pencil\n").stderr)
        client = smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE)
        self.addCleanup(client.close)
        return daemon, client

    def starttls(self, client: smtplib.SMTP) -> None:
        trusting = ssl.create_default_context()
        authority().configure_trust(trusting)
        self.assertEqual(220, client.starttls(context=trusting)[0])

    def test_login_within_tls(self) -> None:
        """AUTH PLAIN within STARTTLS lets a user send, and the trace field says ESMTPSA and with which TLS."""
        daemon, client = self.submission()
        self.starttls(client)
        client.ehlo("client.test")
        self.assertIn("SCRAM-SHA-256-PLUS", client.esmtp_features["auth"])
        self.assertRaises(smtplib.SMTPAuthenticationError, client.login, "alice", "wrong")
        client.user, client.password = "alice", "pencil"
        self.assertEqual(235, client.auth("PLAIN", client.auth_plain)[0])
        client.sendmail("alice@local.test", ["bob@local.test"], "Subject: hi\r\n\r\nhello\r\n")
        (message,) = eventually(lambda: daemon.mailbox("bob"), "the message")
        self.assertIn("with ESMTPSA (TLSv1.3 ", " ".join(message.split()))
        self.assertIn("protocol=ESMTPSA", daemon.output.read_text().replace('"', ""))

    def test_login_before_tls(self) -> None:
        """Who logged in before STARTTLS is nobody behind it, until a login within TLS (RFC 3207 4.2)."""
        _daemon, client = self.submission()
        client.ehlo("client.test")
        client.user, client.password = "alice", "pencil"
        self.assertEqual(235, client.auth("PLAIN", client.auth_plain)[0])
        self.assertEqual(503, client.docmd("AUTH", "PLAIN =")[0])
        self.starttls(client)
        client.ehlo("client.test")
        self.assertEqual(530, client.mail("alice@local.test")[0])
        self.assertEqual(235, client.auth("PLAIN", client.auth_plain)[0])
        self.assertEqual(250, client.mail("alice@local.test")[0])

"""
Mail through the real daemon over real sockets.

Peers: swaks, and smtp-source and smtp-sink of Postfix (Debian: apt-get install swaks postfix); smtplib.
"""

from __future__ import annotations

import signal
import smtplib
import subprocess

from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, free_port, route, tool


class RelayTests(EndToEndCase):
    def test_relay(self) -> None:
        """A message for elsewhere reaches the next hop with a trace field, and leaves the queue (RFC 5321 4.4)."""
        port = free_port()
        sink = self.sink(port)
        daemon = self.daemon(route("*@sink.test", port))
        identity = daemon.submit("carol@example.org", "dave@sink.test")
        (message,) = eventually(sink.messages, "the message at the sink")
        self.assertIn("X-Mail-Args: <carol@example.org>", message)
        self.assertIn("X-Rcpt-Args: <dave@sink.test>", message)
        self.assertIn("Received: from client.test", message)
        self.assertIn(identity, message)
        eventually(lambda: daemon.kinds(identity)[-1] == "delivered", "the delivered event")
        self.assertEqual([], daemon.queued())

    def test_swaks(self) -> None:
        """A stock client's dialogue ends well, and a stranger's relaying in another spelling does not."""
        daemon = self.daemon()
        command = [tool("swaks"), "--server", f"127.0.0.1:{daemon.port}", "--from", "carol@example.org", "--hide-all"]
        good = subprocess.run([*command, "--to", "alice@local.test"], capture_output=True, check=False)
        self.assertEqual(0, good.returncode, good.stdout + good.stderr)
        bad = subprocess.run([*command, "--to", "nobody@local.test"], capture_output=True, check=False)
        self.assertEqual(24, bad.returncode)  # swaks: no recipient was accepted
        eventually(lambda: daemon.mailbox("alice"), "the message in the Maildir")

    def test_many_from_smtp_source(self) -> None:
        """All of a few hundred messages over parallel sessions arrive, each once."""
        port = free_port()
        sink = self.sink(port)
        daemon = self.daemon(route("*@sink.test", port))
        command = [tool("smtp-source"), "-s", "10", "-m", "300", "-l", "2000", "-f", "a@example.org"]
        subprocess.run([*command, "-t", "b@sink.test", f"127.0.0.1:{daemon.port}"], check=True, timeout=PATIENCE)
        eventually(lambda: len(sink.messages()) >= 300 and not daemon.queued(), "all messages at the sink")
        self.assertEqual(300, len(sink.messages()))

    def test_dots(self) -> None:
        """Lines that begin with dots arrive as they were sent (RFC 5321 4.5.2)."""
        daemon = self.daemon()
        body = ".\r\n..\r\n.hidden\r\nend.\r\n"
        daemon.submit("carol@example.org", "alice@local.test", text=f"Subject: dots\r\n\r\n{body}")
        (message,) = eventually(lambda: daemon.mailbox("alice"), "the message in the Maildir")
        self.assertEqual(body.replace("\r\n", "\n"), message.partition("\n\n")[2])


class LocalTests(EndToEndCase):
    def test_maildir(self) -> None:
        """A local recipient finds it in the Maildir with Return-Path on top; the others do not (RFC 5321 4.4)."""
        daemon = self.daemon()
        daemon.submit("carol@example.org", "alice@local.test")
        (message,) = eventually(lambda: daemon.mailbox("alice"), "the message in the Maildir")
        self.assertTrue(message.startswith("Return-Path: <carol@example.org>\n"), message)
        self.assertTrue(message.endswith("Subject: hi\n\nhello\n"), message)
        self.assertEqual([], daemon.mailbox("bob"))

    def test_reports_run_out(self) -> None:
        """A stranger asks for more reports on delivery than one sender is sent: 455, until then it gets them."""
        daemon = Daemon(self.top, "\n[bounce]\nrate_per_sender = 2\n")
        config = daemon.config.read_text()
        daemon.config.write_text(config.replace('networks = ["127.0.0.0/8"]', "networks = []"))
        self.addCleanup(daemon.stop, signal.SIGKILL)
        daemon.start()
        for number in range(2):
            with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
                client.sendmail("bob@local.test", ["alice@local.test"], "Subject: x\n\nx\n", [], ["NOTIFY=SUCCESS"])
            eventually(lambda number=number: len(daemon.mailbox("bob")) > number, "a report")  # type: ignore[misc]
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
            client.ehlo()
            client.mail("bob@local.test")
            code, text = client.rcpt("alice@local.test", ["NOTIFY=SUCCESS"])
            self.assertEqual((455, b"4.3.3"), (code, text[:5]))
            self.assertEqual(250, client.rcpt("alice@local.test", ["NOTIFY=FAILURE"])[0])

    def test_report_to_nobody(self) -> None:
        """A report to a user whom its sender made up ends there, and makes no mailbox."""
        daemon = self.daemon()
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
            client.sendmail("made-up@local.test", ["alice@local.test"], "Subject: x\n\nx\n", [], ["NOTIFY=SUCCESS"])
        eventually(lambda: "bounced to=<made-up@local.test>" in daemon.output.read_text(), "the end of the report")
        self.assertEqual([], daemon.queued())
        self.assertEqual(["alice"], [path.name for path in (daemon.state / "mail").iterdir()])

    def test_unknown_user(self) -> None:
        """A user that is not there is refused at RCPT, and nothing is queued (RFC 5321 3.3)."""
        daemon = self.daemon()
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
            client.ehlo()
            client.mail("carol@example.org")
            code, text = client.rcpt("nobody@local.test")
        self.assertEqual((550, b"5.1.1"), (code, text[:5]))
        self.assertEqual([], daemon.queued())

    def test_sendmail(self) -> None:
        """`mta send -t` takes the recipients from the header, and removes Bcc."""
        daemon = self.daemon()
        text = b"To: Alice <alice@local.test>\nBcc: bob@local.test\nSubject: note\n\nhello\n"
        ran = daemon.mta("send", "-t", "-f", "carol@example.org", content=text)
        self.assertEqual((0, b""), (ran.returncode, ran.stderr))
        for user in ("alice", "bob"):
            (message,) = eventually(lambda user=user: daemon.mailbox(user), f"the message of {user}")  # type: ignore[misc]
            self.assertIn("Message-ID: <", message)
            self.assertNotIn("Bcc", message)


class RetryTests(EndToEndCase):
    def test_deferred_then_delivered(self) -> None:
        """A 4xx keeps the message in the queue, and the retry delivers it (RFC 5321 4.5.4.1)."""
        port = free_port()
        refusing = self.sink(port, "-r", "RCPT")
        daemon = self.daemon(route("*@sink.test", port))
        identity = daemon.submit("carol@example.org", "dave@sink.test")
        (row,) = eventually(
            lambda: [row for row in daemon.queued() if row["attempts"]], "the first attempt of the message"
        )
        self.assertEqual(("queued", identity), (row["state"], row["id"]))
        self.assertIn("450", row["last_reply"])
        refusing.stop()
        sink = self.sink(port)
        eventually(sink.messages, "the message at the sink")
        eventually(lambda: daemon.kinds(identity)[-1] == "delivered", "the delivered event")
        self.assertEqual("deferred", daemon.kinds(identity)[2])

    def test_dead_host(self) -> None:
        """Nobody at the next hop's port: the mail waits, and goes when somebody is there again."""
        port = free_port()
        daemon = self.daemon(route("*@sink.test", port))
        identity = daemon.submit("carol@example.org", "dave@sink.test")
        eventually(lambda: "deferred" in daemon.kinds(identity), "a deferral")
        sink = self.sink(port)
        eventually(sink.messages, "the message at the sink")

    def test_bounce(self) -> None:
        """A 5xx gives the sender a report with the reply, from the null reverse-path (RFC 3464, RFC 5321 4.5.5)."""
        port = free_port()
        self.sink(port, "-f", "RCPT")
        daemon = self.daemon(route("*@sink.test", port))
        identity = daemon.submit("alice@local.test", "dave@sink.test")
        (report,) = eventually(lambda: daemon.mailbox("alice"), "the report")
        self.assertTrue(report.startswith("Return-Path: <>\n"), report)
        for words in (
            "multipart/report",
            "Auto-Submitted: auto-replied",
            "Final-Recipient: rfc822; dave@sink.test",
            "Action: failed",
            "Status: 5.3.0",
            "500 5.3.0 Error: command failed",
            "Subject: hi",
        ):
            self.assertIn(words, report)
        self.assertEqual("bounced", daemon.kinds(identity)[-1])
        self.assertEqual([], daemon.queued())

    def test_no_bounce_of_a_bounce(self) -> None:
        """Mail from the null reverse-path that fails makes no report (RFC 5321 6.1)."""
        port = free_port()
        self.sink(port, "-f", "RCPT")
        daemon = self.daemon(route("*", port))
        identity = daemon.submit("", "dave@sink.test")
        eventually(lambda: daemon.kinds(identity)[-1] == "bounced", "the end of the message")
        self.assertEqual([], daemon.queued())

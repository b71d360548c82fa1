"""Small clients: msmtp, swaks, smtplib and smtp-source. Needs Debian's msmtp, swaks and postfix."""

from __future__ import annotations

import socket
import subprocess
from email.message import EmailMessage

from tests.end_to_end.daemon import PATIENCE, eventually, free_port
from tests.real_peers.crossing import EIGHT_BIT, LMTP, TO_US, RealPeerCase, body, crossing, eight_bit
from tests.real_peers.peer import program


class MsmtpTests(RealPeerCase):
    def _msmtp(self, port: int, sender: str, recipient: str, *options: str) -> None:
        command = [program("msmtp", "msmtp"), "--file=/dev/null", "--host=127.0.0.1", f"--port={port}", "--timeout=20"]
        command += ["--auth=off", "--tls=off", "--domain=client.test", f"--from={sender}", *options, "--", recipient]
        content = eight_bit(sender, recipient).replace(b"\r\n", b"\n")
        ran = subprocess.run(command, input=content, capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual(0, ran.returncode, ran.stderr)

    @crossing("msmtp", TO_US, "8BITMIME", "PIPELINING")
    def test_eight_bit(self) -> None:
        """8-bit content arrives octet for octet (RFC 6152)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        self._msmtp(tap.port, "carol@example.org", "alice@local.test")
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(self.mail_in(daemon, "alice", tap)))

    @crossing("msmtp", TO_US, "DSN")
    def test_dsn(self) -> None:
        """`--dsn-notify=success` makes us report the delivery (RFC 3461 4.1)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        self._msmtp(tap.port, "bob@local.test", "alice@local.test", "--dsn-notify=success", "--dsn-return=hdrs")
        self.assertIn("Action: delivered\n", self.mail_in(daemon, "bob", tap))
        self.assert_client_said(tap, "RET=HDRS", "NOTIFY=SUCCESS")

    @crossing("msmtp", TO_US, "LMTP")
    def test_lmtp(self) -> None:
        """It is served as an LMTP client, too (RFC 2033)."""
        port = free_port()
        daemon = self.daemon(LMTP.format(port=port))
        tap = self.tap(port)
        self._msmtp(tap.port, "carol@example.org", "alice@local.test", "--protocol=lmtp")
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(self.mail_in(daemon, "alice", tap)))
        self.assert_client_said(tap, "LHLO client.test\r\n")


class SwaksTests(RealPeerCase):
    def _swaks(self, port: int, *options: str, code: int = 0) -> None:
        command = [program("swaks", "swaks"), "--server", f"127.0.0.1:{port}", "--helo", "client.test"]
        command += ["--from", "carol@example.org", *options]
        ran = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, text=True)
        self.assertEqual(code, ran.returncode, ran.stdout + ran.stderr)

    @crossing("swaks", TO_US, "PIPELINING")
    def test_pipelining(self) -> None:
        """A pipelined dialogue gets its replies in order, and a recipient's refusal hits that one alone (RFC 2920)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        self._swaks(tap.port, "--pipeline", "--to", "alice@local.test,nobody@local.test,bob@local.test")
        for user in ("alice", "bob"):
            self.mail_in(daemon, user, tap)
        self.assertIn("550 5.1.1", tap.server)

    @crossing("swaks", TO_US, "no SMTPUTF8")
    def test_no_smtputf8(self) -> None:
        """An international address from a client that does not say SMTPUTF8 is refused (RFC 6531 3.5)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        # swaks ends with 24 when no recipient was accepted.
        self._swaks(tap.port, "--to", "dörte@local.test", code=24)
        self.assertIn("553 5.6.7 ", tap.server)

    @crossing("swaks", TO_US, "no extensions")
    def test_helo(self) -> None:
        """A client that says HELO and knows no extension is served (RFC 5321 4.1.1.1)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        self._swaks(tap.port, "--protocol", "SMTP", "--to", "alice@local.test")
        self.assertIn("with SMTP id", self.mail_in(daemon, "alice", tap))
        self.assert_client_said(tap, "HELO client.test\r\n")

    @crossing("swaks", TO_US, "LMTP")
    def test_lmtp(self) -> None:
        """An LMTP client gets a reply for each recipient it was granted (RFC 2033 4.2)."""
        port = free_port()
        daemon = self.daemon(LMTP.format(port=port))
        tap = self.tap(port)
        self._swaks(tap.port, "--protocol", "LMTP", "--to", "alice@local.test,bob@local.test")
        for user in ("alice", "bob"):
            self.assertIn("with LMTP id", self.mail_in(daemon, user, tap))
        self.assertEqual(2, tap.server.count("queued as"), tap.transcript())

    @crossing("swaks", TO_US, "breaks off in the content")
    def test_dropped_in_content(self) -> None:
        """A client that goes away before the final dot leaves nothing in the queue (RFC 5321 4.1.1.10)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        self._swaks(tap.port, "--drop-after-send", "DATA", "--to", "alice@local.test")
        self._swaks(tap.port, "--to", "bob@local.test")
        self.mail_in(daemon, "bob", tap)
        self.assertEqual(([], []), (daemon.mailbox("alice"), daemon.queued()))


class SmtplibTests(RealPeerCase):
    @crossing("smtplib", TO_US, "SMTPUTF8", "8BITMIME")
    def test_send_message(self) -> None:
        """`send_message` with international addresses uses SMTPUTF8, and we take it (RFC 6531)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "jörg@example.org", "alice@local.test", "Grüße"
        message.set_content("Straße\n", cte="8bit")
        with self.client(tap.port) as client:
            self.assertEqual({}, client.send_message(message))
        delivered = self.mail_in(daemon, "alice", tap)
        self.assertEqual("Straße\n", body(delivered))
        self.assert_client_said(tap, "SMTPUTF8", "BODY=8BITMIME")

    def test_return_path(self) -> None:
        """An international reverse-path is kept as it is at final delivery (RFC 5321 4.4, RFC 6531 3.7.3)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        self.send(tap.port, "jörg@example.org", "alice@local.test", b"Subject: hi\r\n\r\nhello\r\n", mail=("SMTPUTF8",))
        message = self.mail_in(daemon, "alice", tap)
        self.assertTrue(message.startswith("Return-Path: <jörg@example.org>\n"), message)

    @crossing("smtplib", TO_US, "DSN")
    def test_success(self) -> None:
        """RET, ENVID, NOTIFY and ORCPT are taken, and come back in the report (RFC 3461 4)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        self.send(
            tap.port,
            "bob@local.test",
            "alice@local.test",
            b"Subject: hi\r\n\r\nhello\r\n",
            mail=("RET=FULL", "ENVID=QQ+2B314159"),
            rcpt=("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;al+2Bice@local.test"),
        )
        report = self.mail_in(daemon, "bob", tap)
        self.assert_reported(report, "delivered", "alice@local.test", r"QQ\+314159")
        self.assertIn("Original-Recipient: rfc822; al+ice@local.test\n", report)

    @crossing("smtplib", TO_US, "BINARYMIME", "CHUNKING")
    def test_binary(self) -> None:
        """Binary content, with NUL, bare CR and bare LF, reaches the Maildir to the octet (RFC 3030 3)."""
        daemon = self.daemon()
        tap = self.tap(daemon.port)
        content = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\xff bare\n\r.\r\n.\r\n"
        self.send_binary(tap.port, "carol@example.org", "alice@local.test", content)
        path = self.arrived(lambda: [*(daemon.state / "mail" / "alice" / "Maildir" / "new").glob("*")], tap)
        self.assertTrue(path.read_bytes().endswith(b"\r\n" + content), path.read_bytes())

    def test_half_close(self) -> None:
        """A client that pipelines all to QUIT and shuts down its side still gets every reply (RFC 5321 4.1.1.10)."""
        daemon = self.daemon()
        content = b"Subject: hi\r\n\r\nhello\r\n"
        with self.client(daemon.port) as client:
            client.ehlo()
            client.send(b"MAIL FROM:<carol@example.org>\r\nRCPT TO:<alice@local.test>\r\n")
            client.send(b"BDAT %d LAST\r\n%bQUIT\r\n" % (len(content), content))
            assert client.sock is not None
            client.sock.shutdown(socket.SHUT_WR)
            replies = [client.getreply()[0] for _ in range(4)]
            client.close()
        self.assertEqual([250, 250, 250, 221], replies)


class SmtpSourceTests(RealPeerCase):
    _VARIANTS = (
        ("-d",),  # does not disconnect between messages
        ("-N", "-r", "3"),  # numbers the recipients, three a message
        ("-s", "5", "-l", "40000"),  # five sessions, forty kilobytes
        ("-R", "1"),  # waits up to a second in each session
        ("-L",),  # LMTP
    )

    @crossing("smtp-source", TO_US, "several messages", "several sessions", "LMTP")
    def test_options(self) -> None:
        """Each odd way of smtp-source to send ten messages makes ten messages."""
        port = free_port()
        daemon = self.daemon(
            LMTP.format(port=port) + '\n[[route]]\nrecipients = ["*@sink.test"]\nnext_hop = "discard:"\n'
        )
        for options in self._VARIANTS:
            target = port if "-L" in options else daemon.port
            command = [program("smtp-source", "postfix"), *options, "-m", "10", "-f", "carol@example.org"]
            command += ["-t", "dave@sink.test", "-S", "from " + " ".join(options), f"127.0.0.1:{target}"]
            ran = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
            self.assertEqual((0, b""), (ran.returncode, ran.stderr), options)
        eventually(lambda: not daemon.queued(), "an empty queue")

"""Mail that leaves by other ways than SMTP, through the real daemon."""

from __future__ import annotations

import base64
import hmac
import http.server
import json
import mailbox
import os
import signal
import smtplib
import threading

from tests.end_to_end.daemon import PATIENCE, EndToEndCase, eventually, free_port


def refused(words: str, *patterns: str) -> str:
    listed = ", ".join(f'"{pattern}"' for pattern in patterns)
    return f'\n[[route]]\nrecipients = [{listed}]\nnext_hop = "error:{words}"\n'


class ErrorTests(EndToEndCase):
    def test_refused_at_rcpt(self) -> None:
        """A client is told at RCPT what an `error:` route says."""
        daemon = self.daemon(refused("550 5.2.1 This mailbox is closed", "bob@local.test"))
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
            client.ehlo()
            client.mail("alice@local.test")
            self.assertEqual((550, b"5.2.1 This mailbox is closed"), client.rcpt("bob@local.test"))
            self.assertEqual(250, client.rcpt("alice@local.test")[0])

    def test_on_hold(self) -> None:
        """A temporary one keeps clients at the door for now."""
        daemon = self.daemon(refused("450 4.2.1 Back on Monday", "*@away.test"))
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
            client.ehlo()
            client.mail("alice@local.test")
            self.assertEqual((450, b"4.2.1 Back on Monday"), client.rcpt("x@away.test"))


class PipeTests(EndToEndCase):
    def piped(self, script: str, pattern: str, more: str = "") -> str:
        """A route to a shell script, run as nobody where the daemon is root."""
        user = "nobody" if os.geteuid() == 0 else ""
        self.top.chmod(0o711)
        self.out = self.top / "out"
        self.out.mkdir()
        self.out.chmod(0o777)
        command = json.dumps(["/bin/sh", "-c", script, str(self.out), "{recipient}"])
        return (
            f'\n[[route]]\nrecipients = ["{pattern}"]\nnext_hop = "pipe:it"\n'
            f'\n[[delivery.pipe]]\nname = "it"\ncommand = {command}\nuser = "{user}"\n{more}'
        )

    def test_delivered(self) -> None:
        """A program has the message, with the rights of its user, and it is gone from the queue."""
        daemon = self.daemon(self.piped('id -un > "$0/who"; cat > "$0/$1"', "*@pipe.test"))
        identity = daemon.submit("alice@local.test", "x@pipe.test")
        eventually(lambda: daemon.kinds(identity)[-1] == "delivered", "the end of the message")
        text = (self.out / "x@pipe.test").read_text()
        self.assertTrue(text.startswith("Return-Path: <alice@local.test>\nDelivered-To: x@pipe.test\nReceived:"), text)
        self.assertNotEqual("root", (self.out / "who").read_text().strip())

    def test_bounced(self) -> None:
        """What the program printed stands in the report to the sender (RFC 3464 2.3.6)."""
        daemon = self.daemon(self.piped('echo "5.2.2 $1 has no room"; exit 67', "*@pipe.test"))
        daemon.submit("alice@local.test", "x@pipe.test")
        (report,) = eventually(lambda: daemon.mailbox("alice"), "the report")
        self.assertIn("Status: 5.2.2\n", report)
        self.assertIn("(exit status 67): x@pipe.test\n has no room", report.partition("Diagnostic-Code: x-mta; ")[2])

    def test_killed(self) -> None:
        """A program that takes too long is killed with all it began, and its message tried again."""
        script = 'if mkdir "$0/first"; then sleep 600; fi; cat > "$0/$1"'
        daemon = self.daemon(self.piped(script, "*@pipe.test", 'time_limit = "1s"\n'))
        identity = daemon.submit("alice@local.test", "x@pipe.test")
        eventually(lambda: daemon.kinds(identity)[-1] == "delivered", "the second run")
        self.assertIn("in-doubt", daemon.kinds(identity))
        self.assertIn("killed after the time limit of 1 s", daemon.output.read_text())

    def test_daemon_killed(self) -> None:
        """A daemon that dies leaves no half message behind: the program reads all of it, and again after a restart."""
        script = 'echo x >> "$0/begun"; sleep 2; cat > "$0/$$"'
        daemon = self.daemon(self.piped(script, "*@pipe.test"))
        text = "Subject: large\r\n\r\n" + "line\r\n" * 100_000
        daemon.submit("alice@local.test", "x@pipe.test", text=text)
        eventually((self.out / "begun").exists, "the program")
        daemon.stop(signal.SIGKILL)
        daemon.start()
        copies = eventually(lambda: len(found := list(self.out.glob("[0-9]*"))) > 1 and found, "both runs")
        eventually(lambda: not daemon.queued(), "the end of the message")
        for copy in copies or []:
            self.assertEqual(100_000, copy.read_text().count("\nline"))


class MboxTests(EndToEndCase):
    def test_many_at_once(self) -> None:
        """Many messages for one mailbox from two workers stand in it whole, each once, and no lock is left."""
        daemon = self.daemon('\n[[route]]\nrecipients = ["*@mbox.test"]\nnext_hop = "mbox:boxes/{user}"\n', workers=2)
        identities = {daemon.submit("alice@local.test", "x@mbox.test") for _ in range(30)}
        eventually(lambda: not daemon.queued(), "an empty queue")
        folder = daemon.state / "boxes"
        self.assertEqual(["x"], [path.name for path in folder.iterdir()])
        found = [message["Received"] or "" for message in mailbox.mbox(folder / "x")]
        self.assertEqual(30, len(found))
        self.assertEqual(identities, {identity for identity in identities for words in found if identity in words})


class _Receiver(http.server.BaseHTTPRequestHandler):
    """Takes mail, but for one recipient."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))  # type: ignore[attr-defined]
        refused = "no@" in self.headers["X-MTA-Recipient"]
        self.send_response(422 if refused else 204)
        self.end_headers()
        if refused:
            self.wfile.write(b"we know nobody of that name\n")

    def log_message(self, format: str, *args: object) -> None:
        """Not to the test's output."""


class PostTests(EndToEndCase):
    def test_delivered_and_refused(self) -> None:
        """A web server takes one recipient's mail and refuses another's: each has his outcome."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), _Receiver)
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}/in"
        secret = f"whsec_{base64.b64encode(bytes(32)).decode()}"
        daemon = self.daemon(
            f'\n[[route]]\nrecipients = ["*@hook.test"]\nnext_hop = "{url}"\n'
            f'\n[[delivery.http]]\nurl = "{url}"\nsecrets = ["{secret}"]\n'
        )
        daemon.submit("alice@local.test", "yes@hook.test", "no@hook.test")
        (report,) = eventually(lambda: daemon.mailbox("alice"), "the report")
        self.assertIn("Final-Recipient: rfc822; no@hook.test\n", report)
        self.assertNotIn("Final-Recipient: rfc822; yes@hook.test\n", report)
        self.assertIn("answered 422: we know nobody of\n that name", report)
        eventually(lambda: not daemon.queued(), "an empty queue")
        self.assertEqual(2, len(server.seen))  # type: ignore[attr-defined]
        for fields, body in server.seen:  # type: ignore[attr-defined]
            content = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + body
            signature = base64.b64encode(hmac.digest(bytes(32), content, "sha256")).decode()
            self.assertEqual(f"v1,{signature}", fields["webhook-signature"])
            self.assertTrue(body.endswith(b"Subject: hi\r\n\r\nhello\r\n"))


class CaptureTests(EndToEndCase):
    def test_captured(self) -> None:
        """All mail stands in one Maildir, with whom it was for; who is allowed has his; check and log warn."""
        daemon = self.daemon('\n[delivery.capture]\nmaildir = "captured"\nallow = ["bob@local.test"]\n')
        daemon.submit("carol@example.org", "dave@far.test", "alice@local.test", "bob@local.test")
        self.assertEqual(1, len(eventually(lambda: daemon.mailbox("bob"), "the message of bob")))
        eventually(lambda: not daemon.queued(), "an empty queue")
        self.assertEqual([], daemon.mailbox("alice"))
        texts = sorted(path.read_text() for path in (daemon.state / "captured/new").iterdir())
        self.assertEqual(2, len(texts))
        for text, who in zip(texts, ("alice@local.test", "dave@far.test"), strict=True):
            head = f"Return-Path: <carol@example.org>\nX-Original-To: {who}\nX-Captured-For: {who}\nReceived: "
            self.assertTrue(text.startswith(head), text)
        warning = "CAPTURE IS ON: all mail goes to captured, but that for bob@local.test; nobody else gets any"
        self.assertIn(f"WARNING: {warning}", daemon.mta("check").stdout.decode())
        self.assertIn(warning, daemon.output.read_text())

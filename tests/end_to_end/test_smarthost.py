"""One daemon hands its mail to another that wants to know who it is: AUTH within TLS, over real sockets."""

from __future__ import annotations

from tests.end_to_end.daemon import Daemon, EndToEndCase, eventually, free_port
from tests.end_to_end.test_submission import MORE
from tests.server.tls_client import authority, issue, write

ROUTE = """
[[route]]
recipients = ["*@far.test"]
next_hop = "smtp://127.0.0.1:{port}"
user = "alice"
password = "{password}"
{more}

[client.tls]
ca_file = "{authorities}"
"""


class SmarthostTests(EndToEndCase):
    def smarthost(self) -> tuple[Daemon, int]:
        """A daemon that takes mail for far.test from alice alone, and the port where she logs in."""
        top = self.top / "smarthost"
        top.mkdir()
        port = free_port()
        daemon = Daemon(top, MORE.format(port=port, files=write(top / "tls", issue("mx.test", "127.0.0.1"))))
        config = daemon.config.read_text().replace('networks = ["127.0.0.0/8"]', "networks = []")
        config = config.replace('domains = ["local.test"]', 'domains = ["far.test"]')
        config = config.replace('backend = "file"', 'backend = "file"\nsenders = { alice = ["*"] }')
        daemon.config.write_text(config)
        self.addCleanup(daemon.stop, 9)
        daemon.start()
        self.assertEqual(b"", daemon.mta("user", "add", "alice", content=b"pencil\n").stderr)
        return daemon, port

    def sends(self, port: int, password: str = "pencil", more: str = "") -> tuple[Daemon, str]:
        """A daemon with a message for far.test, and its queue id."""
        authorities = self.top / "authorities.pem"
        authority().cert_pem.write_to_path(str(authorities))
        text = ROUTE.format(port=port, password=password, more=more, authorities=authorities)
        daemon = self.daemon(text)
        return daemon, daemon.submit("alice@local.test", "bob@far.test")

    def test_bound(self) -> None:
        """By default it is SCRAM-SHA-256-PLUS, bound to the TLS connection: nobody in between could have said it."""
        smarthost, port = self.smarthost()
        sender, identity = self.sends(port)
        (message,) = eventually(lambda: smarthost.mailbox("bob"), "the message")
        self.assertIn("with ESMTPSA (TLSv1.3 ", " ".join(message.split()))
        self.assertIn("mechanism=SCRAM-SHA-256-PLUS user=alice", smarthost.output.read_text())
        eventually(lambda: "delivered" in sender.kinds(identity), "the end")

    def test_what_is_wanted(self) -> None:
        """Another mechanism is taken where the route wants it."""
        smarthost, port = self.smarthost()
        self.sends(port, more='mechanisms = ["PLAIN"]')
        eventually(lambda: smarthost.mailbox("bob"), "the message")
        self.assertIn("mechanism=PLAIN user=alice", smarthost.output.read_text())

    def test_rejected(self) -> None:
        """A wrong password defers the message, time and again, and raises one alarm; the password is in no log."""
        _smarthost, port = self.smarthost()
        daemon, identity = self.sends(port, "pencilcase")
        eventually(lambda: daemon.kinds(identity).count("deferred") > 1, "two deferrals")
        output = daemon.output.read_text()
        self.assertEqual(1, output.count("credentials-rejected"))
        self.assertIn("rejected our credentials for alice (AUTH SCRAM-SHA-256-PLUS): 535 5.7.8", output)
        self.assertNotIn("pencilcase", output)

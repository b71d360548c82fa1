"""AUTH of our client at a real Postfix that asks a real Dovecot. Needs Debian's postfix and dovecot-lmtpd, and root."""

from __future__ import annotations

from tests.end_to_end.daemon import Daemon, eventually
from tests.real_peers.crossing import FROM_US, RealPeerCase, crossing
from tests.real_peers.dovecot import Dovecot
from tests.real_peers.postfix import Postfix
from tests.real_peers.wiretap import Wiretap

_AUTH = """
auth_mechanisms = plain login scram-sha-256
disable_plaintext_auth = no
service auth {
  unix_listener auth-client {
    mode = 0666
  }
}
"""
POSTFIX = """
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {socket}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
"""
_ROUTE = """
[[route]]
recipients = ["*@postfix.test"]
next_hop = "smtp://127.0.0.1:{port}"
tls = "none"
user = "dave"
password = "{password}"
mechanisms = {mechanisms}
"""


class AuthDovecot(Dovecot):
    """It says who dave is, by SCRAM as well: it has his password as it is."""

    def configured(self) -> list[str]:
        command = super().configured()
        passwords = self.top / "passwords"
        passwords.write_text("dave:{PLAIN}sec=ret,\n")
        config = self.top / "dovecot.conf"
        static = "driver = static\n  args = nopassword=y\n"
        config.write_text(config.read_text().replace(static, f"driver = passwd-file\n  args = {passwords}\n") + _AUTH)
        return command


class ToPostfixTests(RealPeerCase):
    def pair(self, mechanisms: list[str], password: str = "sec=ret,") -> tuple[Daemon, Postfix, Wiretap]:
        """Our daemon, and a Postfix that takes mail of those alone who have told Dovecot who they are."""
        dovecot = self.peer(AuthDovecot(self.top))
        tap = self.tap()
        daemon = self.daemon(_ROUTE.format(port=tap.port, password=password, mechanisms=mechanisms))
        socket = dovecot.top / "run" / "auth-client"
        postfix = self.postfix(more=POSTFIX.format(socket=socket))
        tap.target = postfix.port
        daemon.submit("alice@local.test", "dave@postfix.test")
        return daemon, postfix, tap

    def is_let_in(self, mechanisms: list[str], said: str) -> Wiretap:
        daemon, postfix, tap = self.pair(mechanisms)
        self.arrived(postfix.received, tap, postfix)
        self.assert_client_said(tap, said)
        self.assertNotIn("credentials-rejected", daemon.output.read_text())
        return tap

    @crossing("Postfix with Dovecot", FROM_US, "AUTH SCRAM-SHA-256")
    def test_scram(self) -> None:
        """Of all that it offers SCRAM is taken: the password is not told, and Dovecot's signature is right."""
        every = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]
        tap = self.is_let_in(every, "AUTH SCRAM-SHA-256 ")
        self.assert_client_did_not_say(tap, "AUTH PLAIN", "AUTH LOGIN")

    @crossing("Postfix with Dovecot", FROM_US, "AUTH PLAIN")
    def test_plain(self) -> None:
        """PLAIN is taken where SCRAM is not wanted."""
        self.is_let_in(["PLAIN", "LOGIN"], "AUTH PLAIN ")

    @crossing("Postfix with Dovecot", FROM_US, "AUTH LOGIN")
    def test_login(self) -> None:
        """LOGIN is taken where nothing else is wanted."""
        self.is_let_in(["LOGIN"], "AUTH LOGIN\r\n")

    @crossing("Postfix with Dovecot", FROM_US, "AUTH SCRAM-SHA-256, wrong password")
    def test_wrong(self) -> None:
        """A wrong password is a deferral and an alarm, and no bounce."""
        daemon, postfix, _tap = self.pair(["SCRAM-SHA-256"], "wrong")
        eventually(lambda: "credentials-rejected" in daemon.output.read_text(), "the alarm")
        (row,) = eventually(daemon.queued, "the message in the queue")
        self.assertIn("rejected our credentials for dave (AUTH SCRAM-SHA-256): 535", str(row))
        self.assertEqual([], postfix.received())

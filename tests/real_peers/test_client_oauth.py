"""Access tokens at a real Postfix whose Dovecot asks what they are worth. Needs postfix, dovecot-lmtpd, root."""

from __future__ import annotations

from tests.end_to_end.daemon import Daemon, eventually
from tests.peers.token_server import Form, TokenServer
from tests.real_peers.crossing import FROM_US, RealPeerCase, crossing
from tests.real_peers.dovecot import Dovecot
from tests.real_peers.postfix import Postfix
from tests.real_peers.test_client_auth import POSTFIX
from tests.real_peers.wiretap import Wiretap

_AUTH = """
auth_mechanisms = oauthbearer xoauth2
disable_plaintext_auth = no
service auth {{
  unix_listener auth-client {{
    mode = 0666
  }}
}}
"""
_PASSDB = "driver = oauth2\n  mechanisms = oauthbearer xoauth2\n  args = {path}\n"
_OAUTH = """
introspection_url = {url}
introspection_mode = post
username_attribute = email
active_attribute = active
active_value = true
"""
_ROUTE = """
[[route]]
recipients = ["*@postfix.test"]
next_hop = "smtp://127.0.0.1:{port}"
tls = "none"
user = "dave"
token = "mail"
mechanisms = ["{mechanism}"]

[[client.tokens]]
name = "mail"
url = "{server.url}"
client_id = "mta"
client_secret = "hush"
scope = "mail"
ca_file = "{server.authorities}"
"""


class OAuthDovecot(Dovecot):
    """It asks a web server what a token is worth."""

    introspection = ""

    def configured(self) -> list[str]:
        command = super().configured()
        path = self.top / "oauth2.conf"
        path.write_text(_OAUTH.format(url=self.introspection))
        config = self.top / "dovecot.conf"
        static = "driver = static\n  args = nopassword=y\n"
        config.write_text(config.read_text().replace(static, _PASSDB.format(path=path)) + _AUTH.format())
        return command


class ToPostfixTests(RealPeerCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = TokenServer(self.top, "dave")
        self.addCleanup(self.server.stop)

    def pair(self, mechanism: str) -> tuple[Daemon, Postfix, Wiretap]:
        """Our daemon, and a Postfix that takes mail of those alone whose token is good."""
        OAuthDovecot.introspection = self.server.introspection
        dovecot = self.peer(OAuthDovecot(self.top))
        tap = self.tap()
        daemon = self.daemon(_ROUTE.format(port=tap.port, mechanism=mechanism, server=self.server))
        postfix = self.postfix(more=POSTFIX.format(socket=dovecot.top / "run" / "auth-client"))
        tap.target = postfix.port
        daemon.submit("alice@local.test", "dave@postfix.test")
        return daemon, postfix, tap

    def is_let_in(self, mechanism: str) -> None:
        daemon, postfix, tap = self.pair(mechanism)
        self.arrived(postfix.received, tap, postfix)
        self.assert_client_said(tap, f"AUTH {mechanism} ")
        self.assertEqual([{"grant_type": "client_credentials", "scope": "mail"}], self.server.requests)
        self.assertEqual(["Basic bXRhOmh1c2g="], self.server.authorizations)
        output = daemon.output.read_text()
        self.assertIn("token-fetched", output)
        self.assertNotIn("token-0", output)
        self.assertNotIn("hush", output)

    @crossing("Postfix with Dovecot", FROM_US, "AUTH XOAUTH2")
    def test_xoauth2(self) -> None:
        """A token that was fetched over HTTPS lets us in by XOAUTH2."""
        self.is_let_in("XOAUTH2")

    @crossing("Postfix with Dovecot", FROM_US, "AUTH OAUTHBEARER")
    def test_oauthbearer(self) -> None:
        """And by OAUTHBEARER."""
        self.is_let_in("OAUTHBEARER")

    @crossing("Postfix with Dovecot", FROM_US, "AUTH XOAUTH2, revoked token")
    def test_revoked(self) -> None:
        """A token that is worth nothing any more is discarded, and the next one gets the message through, at once."""
        good = self.server.granting

        def answer(form: Form) -> tuple[int, object]:
            found = good(form)
            if len(self.server.requests) == 1:
                self.server.good.clear()
            return found

        self.server.answer = answer
        daemon, postfix, tap = self.pair("XOAUTH2")
        self.arrived(postfix.received, tap, postfix)
        self.assertEqual(2, len(self.server.requests))
        self.assertNotIn("credentials-rejected", daemon.output.read_text())
        self.assertNotIn(" deferred ", daemon.output.read_text())

    @crossing("Postfix with Dovecot", FROM_US, "AUTH XOAUTH2, rejected token")
    def test_rejected(self) -> None:
        """Where no token does, the message is deferred, again and again, with one alarm; it never bounces."""

        def answer(form: Form) -> tuple[int, object]:
            found = TokenServer.granting(self.server, form)
            self.server.good.clear()
            return found

        self.server.answer = answer
        daemon, postfix, tap = self.pair("XOAUTH2")
        eventually(lambda: daemon.output.read_text().count(" deferred ") > 1, "two deferrals")
        output = daemon.output.read_text()
        self.assertEqual(1, output.count("credentials-rejected"))
        self.assertIn("rejected our credentials for dave (AUTH XOAUTH2): 535", output)
        self.assertEqual(2, len(self.server.requests))
        self.assertEqual([], postfix.received())
        self.assert_client_did_not_say(tap, "MAIL FROM")

"""Logging in to the real daemon with a token, which it has judged by a web server on loopback over real HTTPS."""

from __future__ import annotations

import os
import smtplib
import ssl
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import trustme

from mta.tls.pairs import Files
from tests.auth.issuer import AUDIENCE, USER, key_set, public, signed
from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, free_port
from tests.peers.issuer_site import IssuerSite
from tests.server.tls_client import authority, issue, write

CLIENT_SECRET = "hush"
LISTENER = """
[[listener]]
name = "submission"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "submission"
auth_without_tls = {clear}

[[tls.certificates]]
certificate = "{files.certificate}"
key = "{files.key}"

[auth]
failure_delay = "0s"
mechanisms = ["{mechanisms}"]

[auth.oauth]
ca_file = "{authorities}"
scopes = ["smtp.send"]
"""


def oauthbearer(token: str, user: str = USER) -> str:
    return b64encode(f"n,a={user},\1auth=Bearer {token}\1\1".encode()).decode()


class TokenDaemonCase(EndToEndCase):
    """A daemon that trusts nobody but for a token, and the issuer beside it."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = trustme.CA()
        self.issuer = IssuerSite(self.authority)
        self.addCleanup(self.issuer.stop)

    def jwt(self, key: str = "RS", **changed: Any) -> str:
        """A token that is good now."""
        now = time.time()
        told: dict[str, Any] = {
            "exp": now + 300,
            "nbf": now - 10,
            "iss": self.issuer.url,
            "scope": "smtp.send",
            **changed,
        }
        return signed(key=key, **told)

    def by_keys(self) -> str:
        self.issuer.keys = key_set(public("RS"))
        return f'jwks = "{self.issuer.url}/keys"\nissuer = "{self.issuer.url}"\naudience = ["{AUDIENCE}"]\n'

    def by_introspection(self) -> str:
        """The secret comes from a file that the environment names."""
        secret = self.top / "secret"
        secret.write_text(f"{CLIENT_SECRET}\n")
        os.environ["MTA_TEST_SECRET_FILE"] = str(secret)
        self.addCleanup(os.environ.pop, "MTA_TEST_SECRET_FILE")
        return f'introspection = "{self.issuer.url}/i"\nclient_id = "mta"\nclient_secret = "${{MTA_TEST_SECRET}}"\n'

    def submission(self, oauth: str, *mechanisms: str, clear: bool = False) -> tuple[Daemon, int]:
        files: Files = write(self.top / "tls", issue("mx.test", "127.0.0.1"))
        authorities = Path(self.top) / "authorities.pem"
        self.authority.cert_pem.write_to_path(authorities)
        port = free_port()
        more = LISTENER.format(
            port=port,
            files=files,
            clear=str(clear).lower(),
            mechanisms='", "'.join(mechanisms or ("OAUTHBEARER", "XOAUTH2")),
            authorities=authorities,
        )
        more += oauth
        daemon = Daemon(self.top, more)
        daemon.config.write_text(daemon.config.read_text().replace('networks = ["127.0.0.0/8"]', "networks = []"))
        self.addCleanup(daemon.stop, 9)
        daemon.start()
        return daemon, port

    def client(self, port: int) -> smtplib.SMTP:
        """A client within TLS."""
        client = smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE)
        self.addCleanup(client.close)
        client.ehlo("client.test")
        self.assertNotIn("auth", client.esmtp_features)
        trusting = ssl.create_default_context()
        authority().configure_trust(trusting)
        client.starttls(context=trusting)
        client.ehlo("client.test")
        return client

    def no_secrets(self, daemon: Daemon, *tokens: str) -> None:
        told = daemon.output.read_text() + "".join(map(str, daemon.rows("queue", "list")))
        for secret in (*tokens, CLIENT_SECRET):
            self.assertNotIn(secret, told)


class TokenTests(TokenDaemonCase):
    def test_keys(self) -> None:
        """With the keys of the issuer a JWT lets its user send; one that is expired, or for others, does not."""
        daemon, port = self.submission(self.by_keys())
        client = self.client(port)
        self.assertEqual("OAUTHBEARER XOAUTH2", client.esmtp_features["auth"].strip())
        bad = [self.jwt(exp=time.time() - 1), self.jwt(aud="web"), self.jwt(scope=""), self.jwt("RS-2")]
        for token in bad:
            self.assertEqual(334, client.docmd("AUTH", f"OAUTHBEARER {oauthbearer(token)}")[0])
            self.assertEqual(535, client.docmd("AQ==")[0])
        good = self.jwt()
        self.assertEqual(235, client.docmd("AUTH", f"OAUTHBEARER {oauthbearer(good)}")[0])
        client.sendmail(USER, ["bob@local.test"], "Subject: hi\r\n\r\nhello\r\n")
        (message,) = eventually(lambda: daemon.mailbox("bob"), "the message")
        self.assertIn("with ESMTPSA (TLSv1.3 ", " ".join(message.split()))
        self.assertEqual(1, self.issuer.requests)
        log = daemon.output.read_text()
        for reason in ("expired", "for another audience", "it lacks a scope", "signed with an unknown key"):
            self.assertIn(reason, log)
        self.no_secrets(daemon, good, *bad)

    def test_introspection(self) -> None:
        """An issuer that is asked says yes or no, with our credentials; while it is broken it is 454."""
        daemon, port = self.submission(self.by_introspection())
        self.issuer.tokens["opaque-token"] = {"active": True, "email": USER, "scope": "smtp.send"}
        client = self.client(port)
        self.issuer.status = 503
        self.assertEqual(454, client.docmd("AUTH", f"OAUTHBEARER {oauthbearer('opaque-token')}")[0])
        self.issuer.status = 200
        self.assertEqual(334, client.docmd("AUTH", f"OAUTHBEARER {oauthbearer('another-token')}")[0])
        self.assertEqual(535, client.docmd("AQ==")[0])
        self.assertEqual(235, client.docmd("AUTH", f"OAUTHBEARER {oauthbearer('opaque-token')}")[0])
        basic = "Basic " + b64encode(f"mta:{CLIENT_SECRET}".encode()).decode()
        self.assertEqual((basic, "opaque-token"), self.issuer.asked[-1])
        self.assertEqual(235, self.client(port).docmd("AUTH", f"OAUTHBEARER {oauthbearer('opaque-token')}")[0])
        self.assertEqual(3, len(self.issuer.asked))
        self.no_secrets(daemon, "opaque-token", "another-token")

    def test_stranger(self) -> None:
        """A web server whose certificate is of another authority gets no token, and nobody is refused for it."""
        self.issuer.tokens["opaque-token"] = {"active": True, "email": USER, "scope": "smtp.send"}
        self.authority = trustme.CA()
        daemon, port = self.submission(self.by_introspection())
        self.assertEqual(454, self.client(port).docmd("AUTH", f"OAUTHBEARER {oauthbearer('opaque-token')}")[0])
        self.assertEqual([], self.issuer.asked)
        self.assertIn("leads to a CA that is not", daemon.output.read_text())

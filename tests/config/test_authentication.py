"""The table [auth], and what it says of the listeners."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.config.loading import ConfigError, parse

_FILE = """\
hostname = "mx.example.org"
[[listener]]
name = "submission"
endpoint = '{endpoint}'
role = "{role}"
{more}
"""
PAIR = "[[tls.certificates]]\ncertificate = 'a.pem'\nkey = 'a.key'\n"


def problems(more: str = "", role: str = "submission", endpoint: str = "tcp:587") -> str:
    try:
        parse(_FILE.format(endpoint=endpoint, role=role, more=more), "f", {})
    except ConfigError as error:
        return str(error)
    return ""


class AuthTests(SynchronousTestCase):
    def test_without_tls(self) -> None:
        """AUTH without TLS is allowed where an endpoint is bound to loopback, and nowhere else."""
        for endpoint in (
            "tcp:587:interface=127.0.0.1",
            r"tcp6:587:interface=\:\:1",
            "unix:/run/x",
            "tcp:1:interface=127.9.9.9",
        ):
            self.assertEqual("", problems("auth_without_tls = true", endpoint=endpoint), endpoint)
        for endpoint in (
            "tcp:587",
            "tcp:587:interface=192.0.2.1",
            "systemd:domain=INET:index=0",
            "tcp:1:interface=0.0.0.0",
        ):
            self.assertIn("f:6: listener 1: auth_without_tls: ", problems("auth_without_tls = true", endpoint=endpoint))

    def test_contradictions(self) -> None:
        """What can't work is told with its line."""
        for more, role, told in (
            ("auth = true", "mx", "nobody can log in"),
            ('auth = true\n[auth]\nbackend = "file"', "lmtp", "not for role lmtp"),
            ('[auth]\nbackend = "function"', "submission", "must name a function"),
            ('[auth]\nbackend = "dovecot"\nmechanisms = ["SCRAM-SHA-256"]', "submission", "has SCRAM alone"),
            ('[auth]\nmechanisms = ["CRAM-MD5"]', "submission", "is not a mechanism"),
            ('[auth]\nfunction = "x"', "submission", "MODULE:FUNCTION"),
            ('[auth]\nsenders = { alice = ["bob"] }', "submission", "auth.senders"),
            ('[auth]\nusers = "control"', "submission", "auth.users"),
            ('[auth]\nbackend = "dovecot"\nmechanisms = ["XOAUTH2"]', "submission", "has SCRAM alone"),
        ):
            self.assertIn(told, problems(more, role), more)
        more = '[auth]\nbackend = "file"\nsenders = { Alice = ["@b.test", "*", "a@b.test"] }\n'
        self.assertEqual("", problems(more + PAIR))

    def test_no_way_to_log_in(self) -> None:
        """A listener at which AUTH can't succeed is an error of its line that says what to do."""
        file = '[auth]\nbackend = "file"\n'
        never = "f:{}: listener 1: {}: nobody can log in here: AUTH needs TLS, and {}"
        loopback = "tcp:587:interface=127.0.0.1"
        for more, role, endpoint, told in (
            (file, "submission", "tcp:587", never.format(5, "role", "there are no tls.certificates")),
            (file, "submission", loopback, never.format(5, "role", "there are no tls.certificates")),
            (f"auth = true\n{file}", "mx", "tcp:25", never.format(6, "auth", "there are no tls.certificates")),
            (f'tls = "none"\n{file}{PAIR}', "submission", "tcp:587", never.format(6, "tls", 'tls is "none"')),
            (
                f'auth_without_tls = true\n{file}mechanisms = ["SCRAM-SHA-256-PLUS"]',
                "submission",
                loopback,
                "f:6: listener 1: auth_without_tls: nobody can log in here: auth.mechanisms has SCRAM-SHA-256-PLUS",
            ),
            (f"{file}mechanisms = []\n{PAIR}", "submission", "tcp:587", "f:8: auth.mechanisms: is empty: nobody"),
        ):
            with self.subTest(more=more, endpoint=endpoint):
                (line,) = problems(more, role, endpoint).splitlines()
                self.assertIn(told, line)
        for more, role, endpoint in (
            (file + PAIR, "submission", "tcp:587"),
            (f'tls = "implicit"\n{file}{PAIR}', "submission", "tcp:465"),
            (f"auth_without_tls = true\n{file}", "submission", loopback),
            (file, "mx", "tcp:25"),
        ):
            self.assertEqual("", problems(more, role, endpoint), more)

    def test_nobody_may_send(self) -> None:
        """Without users a listener of role submission needs a trusted network that reaches it."""
        nobody = "f:5: listener 1: role: nobody can send here: auth.backend is missing"
        for more, endpoint in (
            ("", "tcp:587"),
            ("[relay]\nnetworks = ['127.0.0.0/8']", r"tcp6:587:interface=\:\:"),
            ("[relay]\nnetworks = []", "tcp:587:interface=127.0.0.1"),
            (f"tls = 'none'\n{PAIR}[relay]\nclient_certificates = ['{'00' * 32}']", "tcp:587"),
        ):
            self.assertIn(nobody, problems(more, endpoint=endpoint), more)
        for more, endpoint in (
            ("", "tcp:587:interface=127.0.0.1"),
            ("[relay]\nnetworks = ['10.0.0.0/8']", "tcp:587"),
            (f"{PAIR}[relay]\nclient_certificates = ['{'00' * 32}']", "tcp:587"),
        ):
            self.assertEqual("", problems(more, endpoint=endpoint), more)


_KEYS = '[auth.oauth]\njwks = "https://id.test/keys"\nissuer = "https://id.test"\naudience = ["mail"]\n'
_ASKED = '[auth.oauth]\nintrospection = "https://id.test/i"\nclient_id = "mta"\nclient_secret = "${SECRET}"\n'


class OAuthTests(SynchronousTestCase):
    def test_contradictions(self) -> None:
        """What can't work, or would take the tokens of others, is told with its key."""
        for more, told in (
            (_KEYS + 'introspection = "https://id.test/i"', "auth.oauth.jwks: introspection is there already"),
            (_KEYS.replace("issuer", "client_id"), "auth.oauth.issuer: is missing"),
            ('[auth.oauth]\njwks = "keys.json"\nissuer = "x"', "auth.oauth.audience: is missing"),
            (
                '[auth.oauth]\nintrospection = "https://id.test/i"\nclient_id = "x"',
                "auth.oauth.client_secret: is missing",
            ),
            ('[auth.oauth]\nissuer = "x"', "auth.oauth: has neither introspection nor jwks"),
            ('[auth]\nmechanisms = ["PLAIN"]\n' + _KEYS, "auth.mechanisms: has neither OAUTHBEARER nor XOAUTH2"),
            (_KEYS + 'scopes = ["a b"]', "is not a scope"),
            (_KEYS + 'user_claim = ""', "must be the name of a claim"),
            (_KEYS.replace("https://id.test/keys", "http://id.test/keys"), "over HTTPS alone"),
        ):
            self.assertIn(told, problems(more), more)
        for url in (
            "http://id.test/",
            "https:///x",
            "https://a:b@id.test/",
            "https://id.test/#x",
            "https://id.test:x/",
        ):
            self.assertIn("over HTTPS alone", problems(f'[auth.oauth]\nintrospection = "{url}"'), url)

    def test_enough(self) -> None:
        """Tokens are enough for somebody to log in, without auth.backend; the secret comes from the environment."""
        file = _FILE.format(endpoint="tcp:587", role="mx", more="auth = true\n" + _ASKED + PAIR)
        config = parse(file, "f", {"SECRET": "hush"})
        self.assertEqual(("hush", True), (config.auth.oauth.client_secret, config.auth.oauth.is_used))
        self.assertEqual("", problems(f"auth = true\n{_KEYS}{PAIR}", "mx"))

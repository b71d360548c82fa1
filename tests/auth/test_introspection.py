"""What the issuer says of a token when it is asked (RFC 7662), and how long that is good."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs

from twisted.internet.defer import CancelledError

from mta.auth import introspection
from mta.auth.claims import Demands
from mta.auth.credentials import NotNow
from mta.auth.introspection import Introspection
from mta.auth.tokens import UnauthorizedToken
from mta.identity import Identity
from mta.web import WebError
from tests.auth.issuer import AUDIENCE, CLAIMS, ISSUER, NOW, USER
from tests.auth.token_case import TokenCase


class IntrospectionTests(TokenCase):
    def setUp(self) -> None:
        super().setUp()
        self.source = Introspection(
            self.web,
            url="https://id.test/introspect",
            client_id="m:ta",
            client_secret="s e%cret",
            keep=60.0,
            seconds=self.clock.seconds,
            wall=self.clock.seconds,
        )
        self.tokens = self.checker(self.source, Demands(expires=False))

    def test_request(self) -> None:
        """The endpoint is asked as RFC 7662 2.1 has it, with name and secret encoded as RFC 6749 2.3.1 has it."""
        asked = self.ask("a+/b==")
        request = self.web.answer({"active": True, "email": USER})
        self.assertEqual(Identity(USER), self.successResultOf(asked))
        self.assertEqual(("POST", "https://id.test/introspect"), (request.method, request.url))
        form = parse_qs(request.body.decode(), strict_parsing=True)
        self.assertEqual({"token": ["a+/b=="], "token_type_hint": ["access_token"]}, form)
        headers = dict(request.headers)
        self.assertEqual("application/x-www-form-urlencoded", headers["Content-Type"])
        scheme, _, basic = headers["Authorization"].partition(" ")
        self.assertEqual(("Basic", b"m%3Ata:s+e%25cret"), (scheme, base64.b64decode(basic)))

    def test_refused(self) -> None:
        """A token that is not active, or says less than it must, is refused, and asked for each time."""
        self.tokens = self.checker(self.source, Demands(ISSUER, frozenset((AUDIENCE,)), frozenset(("smtp.send",))))
        for said, words in (
            ({"active": False, **CLAIMS}, "not active"),
            ({"active": True, **CLAIMS, "exp": NOW}, "expired"),
            ({"active": True, **CLAIMS, "exp": "x"}, "its exp is no time"),
            ({"active": True, **CLAIMS, "aud": "web"}, "another audience"),
            ({"active": True, **CLAIMS, "iss": "x"}, "another issuer"),
            ({"active": True, **CLAIMS, "scope": ""}, "lacks a scope"),
            ({"active": True, **CLAIMS, "email": "bob@example.org"}, "another user's"),
        ):
            asked = self.ask(f"t{words}")
            self.web.answer(said)
            self.assertIn(words, str(self.failureResultOf(asked, UnauthorizedToken).value))

    def test_faults(self) -> None:
        """A fault of the endpoint says nothing of the token: it is never refused for it."""
        for body, status, words in (
            (b"", 500, "answered 500"),
            (b"", 503, "answered 503"),
            (b"", 302, "answered 302"),
            (b"", 401, "takes neither client_id nor client_secret"),
            (b"", 200, "no answer of introspection"),
            (b"<html>", 200, "no answer"),
            (b"[" * 60_000, 200, "no answer"),
            ([], 200, "no answer"),
            ({}, 200, "no answer"),
            ({"active": "true"}, 200, "no answer"),
            ({"active": 1}, 200, "no answer"),
        ):
            asked = self.ask("secret-token")
            self.web.answer(body, status)
            error = self.failureResultOf(asked, NotNow).value
            self.assertIn(words, str(error))
            self.assertNotIn("secret-token", str(error))
        asked = self.ask("secret-token")
        self.web.fail(WebError("id.test: no whole answer within 10 s"))
        self.failureResultOf(asked, NotNow)

    def test_kept(self) -> None:
        """A good answer is kept for a while, for that token alone, and never beyond its end."""
        for exp, kept in ((None, 60.0), (NOW + 3600, 60.0), (NOW + 500, 60.0)):
            self.granted(f"t{exp}", exp)
            self.clock.advance(kept - 0.1)
            self.assert_granted(f"t{exp}")
            self.clock.advance(0.1)
            self.granted(f"t{exp}", exp)
        self.granted("short", self.clock.seconds() + 5)
        other = self.ask("shorn")
        self.web.answer({"active": False})
        self.failureResultOf(other, UnauthorizedToken)
        self.clock.advance(4.9)
        self.assert_granted("short")
        self.clock.advance(0.2)
        asked = self.ask("short")
        self.web.answer({"active": False})
        self.failureResultOf(asked, UnauthorizedToken)

    def granted(self, token: str, exp: float | None) -> None:
        asked = self.ask(token)
        self.web.answer({"active": True, "email": USER, "exp": exp})
        self.assertEqual(Identity(USER), self.successResultOf(asked))

    def test_kept_answers_name_one_user(self) -> None:
        """That a token is known to be good does not let its bearer be somebody else."""
        self.granted("abc", None)
        self.assert_refused("abc", "another user's", "bob@example.org")
        self.assertEqual([], self.web.asked)

    def test_bounds(self) -> None:
        """Strangers neither fill the memory nor have the endpoint asked without end; who gives up makes room."""
        self.patch(introspection, "MAX_KEPT", 3)
        for number in range(5):
            self.granted(f"t{number}", None)
        self.assertEqual(3, len(self.source._kept))
        asked = [self.ask(f"x{number}") for number in range(introspection.AT_ONCE + introspection.WAITING)]
        self.assertEqual(introspection.AT_ONCE, len(self.web.asked))
        self.assertIn("too many", str(self.failureResultOf(self.ask("more"), NotNow).value))
        for each in asked:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.web.asked.clear()
        self.granted("again", None)

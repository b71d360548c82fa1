"""Asking for access tokens: the requests and the answers of RFC 6749."""

from __future__ import annotations

import json
from base64 import b64decode
from urllib.parse import parse_qs

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.token_grant import LONGEST_LIFETIME, USUAL_LIFETIME, Granted, TokenError, TokenGrant, granted, token_request
from mta.web import WebAnswer, WebRequest

GRANT = TokenGrant("mail", "https://id.test/token", "mta:1", "s&cret", "send all")


def answer(fields: object, status: int = 200) -> WebAnswer:
    return WebAnswer(status, ("application/json",), json.dumps(fields).encode())


GOOD = {"access_token": "abc", "token_type": "Bearer", "expires_in": 600}


class RequestTests(SynchronousTestCase):
    def form(self, request: WebRequest) -> dict[str, list[str]]:
        self.assertEqual(("POST", "https://id.test/token"), (request.method, request.url))
        self.assertIn(("Content-Type", "application/x-www-form-urlencoded"), request.headers)
        return parse_qs(request.body.decode(), keep_blank_values=True, strict_parsing=True)

    def test_client_credentials(self) -> None:
        """RFC 6749 4.4.2, with the client in an Authorization field, encoded as 2.3.1 says."""
        request = token_request(GRANT, "")
        self.assertEqual({"grant_type": ["client_credentials"], "scope": ["send all"]}, self.form(request))
        (authorization,) = (value for name, value in request.headers if name == "Authorization")
        self.assertEqual(b"mta%3A1:s%26cret", b64decode(authorization.removeprefix("Basic ")))

    def test_refresh_token(self) -> None:
        """RFC 6749 6, with the refresh token that is valid now and the client in the body."""
        grant = TokenGrant("mail", "https://id.test/token", "mta", "s", refresh_token="old", in_body=True)
        wanted = {"grant_type": "refresh_token", "refresh_token": "new", "client_id": "mta", "client_secret": "s"}
        request = token_request(grant, "new")
        self.assertEqual({key: [value] for key, value in wanted.items()}, self.form(request))
        self.assertNotIn("Authorization", dict(request.headers))

    def test_public_client(self) -> None:
        """A client without a secret names itself in the body (RFC 6749 3.2.1)."""
        grant = TokenGrant("mail", "https://id.test/token", "mta", refresh_token="old")
        self.assertEqual(["mta"], self.form(token_request(grant, "old"))["client_id"])

    def test_secrets_are_not_shown(self) -> None:
        """No text of a grant, a request or an answer has a secret in it."""
        grant = TokenGrant("mail", "https://id.test/token", "mta", "hush", refresh_token="hush")
        shown = repr((grant, token_request(grant, "hush"), Granted("hush", 1.0, "hush"), answer({"x": "hush"})))
        self.assertNotIn("hush", shown)


class AnswerTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Token, lifetime and the next refresh token; a lifetime that is not told, or makes no sense, is an hour."""
        for fields, lifetime in (
            (GOOD, 600.0),
            (GOOD | {"expires_in": "600", "token_type": "bearer"}, 600.0),
            ({"access_token": "abc", "token_type": "BEARER"}, USUAL_LIFETIME),
            (GOOD | {"expires_in": -1}, USUAL_LIFETIME),
            (GOOD | {"expires_in": True}, USUAL_LIFETIME),
            (GOOD | {"expires_in": [1]}, USUAL_LIFETIME),
            (GOOD | {"expires_in": 1e300}, LONGEST_LIFETIME),
        ):
            self.assertEqual(Granted("abc", lifetime), granted(answer(fields)), fields)
        self.assertEqual("next", granted(answer(GOOD | {"refresh_token": "next"})).refresh_token)

    def test_bad(self) -> None:
        """What is no token is none, and the reason shows the server's error and nothing secret."""
        for found, reason in (
            (
                answer({"error": "invalid_grant", "error_description": "it was\nrevoked \x07"}, 400),
                "it answered 400: invalid_grant (it was revoked ?)",
            ),
            (answer({"error": "invalid_client"}, 401), "it answered 401: invalid_client"),
            (answer({"error": ["x"]}, 400), "it answered 400"),
            (WebAnswer(503, ("text/html",), b"<html>"), "it answered 503"),
            (WebAnswer(200, ("text/html",), b"<html>"), "its answer is no JSON object"),
            (WebAnswer(200, (), b"[" * 100_000), "its answer is no JSON object"),
            (answer([]), "its answer is no JSON object"),
            (answer({"token_type": "Bearer"}), "its answer has no access_token that can be used"),
            (answer(GOOD | {"access_token": "a b"}), "its answer has no access_token that can be used"),
            (answer(GOOD | {"access_token": "a\r\nQUIT"}), "its answer has no access_token that can be used"),
            (answer(GOOD | {"access_token": "a" * 9000}), "its answer has no access_token that can be used"),
            (answer(GOOD | {"token_type": "mac"}), "its answer has a token_type other than bearer"),
            (answer(GOOD | {"refresh_token": 1}), "its answer has a refresh_token that is no text"),
        ):
            error = self.assertRaises(TokenError, granted, found)
            self.assertEqual(reason, str(error))

    @given(
        st.binary(max_size=80) | st.dictionaries(st.text(), st.integers() | st.text()).map(json.dumps).map(str.encode)
    )
    def test_anything(self, body: bytes) -> None:
        """Whatever a server says, it is a token or a `TokenError`."""
        for status in (200, 400):
            try:
                granted(WebAnswer(status, (), body))
            except TokenError as error:
                self.assertTrue(str(error).isprintable())

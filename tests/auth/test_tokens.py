"""What a signed token is worth: signatures, claims, and keys that change."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWS
from twisted.internet.defer import CancelledError

from mta.auth.claims import LEEWAY, Demands
from mta.auth.credentials import NotNow
from mta.auth.jwks import KeySetError, keys_in
from mta.auth.keys import FRESH, PAUSE, STALE, FileKeys
from mta.auth.tokens import Signed, UnauthorizedToken
from mta.identity import Identity
from mta.web import WebError
from tests.auth.issuer import AUDIENCE, CLAIMS, ISSUER, NOW, USER, key_set, private, public, signed
from tests.auth.token_case import URL, TokenCase


def segment(value: Any) -> str:
    octets = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], claims: Any = CLAIMS, signature: bytes = b"") -> str:
    return f"{segment(header)}.{segment(dict(claims) if isinstance(claims, dict) else claims)}.{segment(signature)}"


class SignatureTests(TokenCase):
    def test_algorithms(self) -> None:
        """Each algorithm with a public key verifies, with the key that it belongs to."""
        self.know(*map(public, ("RS", "ES256", "ES384", "ES512", "EdDSA")))
        for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
            self.assert_granted(signed(algorithm=algorithm))
        for key in ("ES256", "ES384", "ES512", "EdDSA"):
            self.assert_granted(signed(key=key, algorithm=key))
            self.assert_granted(signed(key=key, algorithm=key, header={}))

    def test_bad_tokens(self) -> None:
        """No token that anybody but the issuer could make is taken, and each is refused with its reason."""
        self.know(public("RS"), public("ES256"), public("RS-2", alg="PS256"))
        good = signed()
        pem = private("RS").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for header, secret in (
            ({"alg": "HS256", "kid": "RS"}, pem),
            ({"alg": "HS256", "kid": "RS"}, pem.strip()),
            ({"alg": "HS256"}, json.dumps(public("RS")).encode()),
        ):
            body = by_hand(header).rpartition(".")[0]
            forged = f"{body}.{segment(hmac.digest(secret, body.encode(), hashlib.sha256))}"
            self.assert_refused(forged, "its algorithm is none that is taken")
        head, payload, signature = good.split(".")
        other = segment({**CLAIMS, "email": "bob@example.org"})
        embedded = {"alg": "RS256", "jwk": public("RS-3"), "jku": "https://evil.test/", "x5u": "https://evil.test/"}
        for token, words in (
            (by_hand({"alg": "none"}), "its algorithm is none that is taken"),
            (by_hand({"alg": "None"}), "its algorithm is none that is taken"),
            (f"{segment({'alg': 'none', 'kid': 'RS'})}.{payload}.", "its algorithm is none that is taken"),
            (by_hand({"alg": ["RS256"]}), "its algorithm"),
            (by_hand({}), "its algorithm"),
            (signed(key="RS-3"), "unknown key"),
            (signed(key="RS-3", header=embedded), "none of the keys"),
            (signed(key="RS-3", header={**embedded, "kid": "RS"}), "the signature is wrong"),
            (signed(key="ES256", algorithm="ES256", header={"kid": "RS"}), "not that of the key"),
            (signed(key="RS-2", algorithm="RS256"), "not that of the key"),
            (signed(header={"kid": "RS", "crit": ["exp"], "exp": 1}), "no JWT"),
            (f"{head}.{other}.{signature}", "the signature is wrong"),
            (f"{head}.{payload}.{signature[:-4]}", "the token: "),
            (f"{head}.{payload}.", "the signature is wrong"),
            (f"{head}.{payload}", "no JWT"),
            (f"{head}.{payload[:-2]}.{signature}", "the token: "),
            (good[1:], "no JWT"),
            ("", "no JWT"),
            ("abc", "no JWT"),
            ("a.b.c", "no JWT"),
            (f"{good}.{signature}", "no JWT"),
            (by_hand({"alg": "RS256", "kid": 7}), "no JWT"),
            (f"{segment(b'[' * 3000)}.{payload}.{signature}", "no JWT"),
            (f"{segment(b'{}[]')}.{payload}.{signature}", "no JWT"),
        ):
            self.assert_refused(token, words)
        self.assert_granted(good)

    def test_every_truncation(self) -> None:
        """However a token is cut, what is left is refused, and nothing raises."""
        self.know(public("ES256"))
        token = signed(key="ES256", algorithm="ES256")
        for cut in range(len(token)):
            self.failureResultOf(self.ask(token[:cut]), UnauthorizedToken)
        self.assert_granted(token)

    def test_key_sets(self) -> None:
        """Keys for something else, too weak, shared, or broken are passed over; a set without others is none."""
        good = public("RS")
        secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "x"}
        passed_over = (
            public("RS", use="enc"),
            public("RS", alg="HS256"),
            public("RS", key_ops=["sign"]),
            public("RS", n=7),
            public("RS", kid=7),
            {"kty": "RSA", "kid": "x"},
            public("WEAK"),
            public("ES256K"),
            public("ES256", crv="P-384"),
            public("ES256", x="AA"),
            public("EdDSA", crv="X25519"),
            {"kty": "unheard of"},
            secret,
            "text",
            None,
        )
        for entry in passed_over:
            self.assertEqual(1, len(keys_in(key_set(entry, good))), entry)
            self.assertRaises(KeySetError, keys_in, key_set(entry))
        for text in (b"", b"{", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"[" * 100_000, b"\xff\xfe"):
            self.assertRaises(KeySetError, keys_in, text)
        self.assertEqual(1, len(keys_in(key_set(public("RS", use="sig", alg="RS256", key_ops=["verify"])))))


class ClaimTests(TokenCase):
    def setUp(self) -> None:
        super().setUp()
        self.know(public("RS"))

    def test_bad_claims(self) -> None:
        """A token that is expired, too early, for others, of others or without the scope is refused with its reason."""
        for changed, words in (
            ({"exp": NOW - 1}, "expired"),
            ({"exp": NOW}, "expired"),
            ({"exp": None}, "without an end"),
            ({"exp": "soon"}, "its exp is no time"),
            ({"exp": True}, "its exp is no time"),
            ({"exp": math.inf}, "its exp is no time"),
            ({"exp": math.nan}, "its exp is no time"),
            ({"exp": 10**400}, "its exp is no time"),
            ({"nbf": NOW + LEEWAY + 1}, "not yet valid"),
            ({"nbf": [1]}, "its nbf is no time"),
            ({"aud": None}, "another audience"),
            ({"aud": "Mail"}, "another audience"),
            ({"aud": ["web", "chat"]}, "another audience"),
            ({"aud": {"mail": 1}}, "another audience"),
            ({"iss": None}, "another issuer"),
            ({"iss": ISSUER + "/"}, "another issuer"),
            ({"iss": [ISSUER]}, "another issuer"),
            ({"email": None}, "without email"),
            ({"email": ["a@example.org"]}, "without email"),
            ({"email": ""}, "no name of a user"),
            ({"email": "a b"}, "no name of a user"),
            ({"email": "\ud800"}, "no name of a user"),
            ({"email": None, "preferred_username": USER, "sub": USER}, "without email"),
            ({"email_verified": False}, "not verified"),
            ({"email_verified": "false"}, "not verified"),
        ):
            self.assert_refused(signed(**changed), words)
        for changed in ({"scope": None}, {"scope": "openid"}, {"scope": "smtp.sending"}, {"scope": {"smtp.send": 1}}):
            self.assert_refused(signed(**changed), "lacks a scope", status="insufficient_scope")

    def test_good_claims(self) -> None:
        """Lists, Microsoft's name of the scope, a clock that is a little ahead and a verified address are fine."""
        for changed in (
            {"aud": ["web", AUDIENCE]},
            {"scope": None, "scp": "smtp.send"},
            {"scope": None, "scp": ["openid", "smtp.send"]},
            {"nbf": NOW + LEEWAY},
            {"nbf": None},
            {"exp": NOW + 0.5},
            {"email_verified": True},
            {"email_verified": "true"},
            {"email": "Alice@Example.ORG"},
        ):
            self.assert_granted(signed(**changed))

    def test_other_user(self) -> None:
        """Who the client says it is must be whom the token names; who says nothing is that one."""
        for user in ("bob@example.org", "alice", "alice@example.orgx", "a b", "*"):
            self.assert_refused(signed(), "another user's", user)
        for user in ("", USER, "ALICE@example.org"):
            self.assert_granted(signed(), user)

    def test_user_claim(self) -> None:
        """Another claim may name the user, and then it is that one alone."""
        self.tokens = self.checker(Signed(self.keys), Demands(user_claim="sub"))
        token = signed(sub="u17", email_verified=False)
        self.assertEqual(Identity("u17"), self.successResultOf(self.ask(token, "u17")))
        self.assert_refused(signed(), "without sub")

    def test_not_claims(self) -> None:
        """A signed text that is no object of JSON has no claims."""
        for payload in (b"[]", b"7", b"{", b"\xff", b"[" * 5000):
            token = PyJWS().encode(payload, private("RS"), "RS256", {"kid": "RS"})
            self.assert_refused(token, "it has no claims")


class RotationTests(TokenCase):
    def test_new_key(self) -> None:
        """A token with an unknown key has the keys fetched again, at most once a minute; it waits for them."""
        self.know(public("RS"))
        self.assert_refused(signed(key="RS-2"), "unknown key")
        self.assertEqual([], self.web.asked)
        self.clock.advance(PAUSE)
        asked = [self.ask(signed(key="RS-2")) for _ in range(3)]
        self.assert_granted(signed())
        (request, _answered), *more = self.web.asked
        self.assertEqual(([], "GET", URL), (more, request.method, request.url))
        self.web.answer(key_set(public("RS-2")))
        self.assertEqual([Identity(USER)] * 3, [self.successResultOf(each) for each in asked])
        self.assert_refused(signed(), "unknown key")
        self.clock.advance(PAUSE)
        invented = self.ask(signed(key="RS-3"))
        self.web.answer(key_set(public("RS-2")))
        self.failureResultOf(invented, UnauthorizedToken)
        self.assert_refused(signed(key="RS-3"), "unknown key")
        self.assertEqual([], self.web.asked)

    def test_withdrawn_key(self) -> None:
        """Keys are fetched again after an hour, and one that is gone verifies nothing any more."""
        self.know(public("RS"))
        self.clock.advance(FRESH)
        asked = self.ask(signed(exp=NOW + 86_400))
        self.web.answer(key_set(public("RS-2")))
        self.failureResultOf(asked, UnauthorizedToken)

    def test_faults(self) -> None:
        """While the issuer does not answer its last keys stay good for a day; a new key is then a fault, not a lie."""
        self.know(public("RS"))
        token = signed(exp=NOW + 10 * STALE)
        self.clock.advance(FRESH)
        asked = self.ask(token)
        self.web.fail(WebError("id.test: no whole answer within 10 s"))
        self.assertEqual(Identity(USER), self.successResultOf(asked))
        error = self.failureResultOf(self.ask(signed(key="RS-2")), NotNow).value
        self.assertEqual("id.test: no whole answer within 10 s", str(error))
        for body, status in ((b"", 500), (b"<html>", 200), (b"{}", 200), (b"", 404)):
            self.clock.advance(PAUSE)
            asked = self.ask(signed(key="RS-2"))
            # The first look is for fresh keys, and the second is too soon.
            self.web.answer(body, status)
            self.assertIn(URL, str(self.failureResultOf(asked, NotNow).value))
        self.clock.advance(STALE)
        asked = self.ask(token)
        self.web.answer(b"", 503)
        self.failureResultOf(asked, NotNow)
        self.failureResultOf(self.ask(token), NotNow)
        self.clock.advance(PAUSE)
        asked = self.ask(token)
        self.web.answer(key_set(public("RS")))
        self.assertEqual(Identity(USER), self.successResultOf(asked))

    def test_gives_up(self) -> None:
        """A client that waits no longer does not take the keys away from the others."""
        first, second = self.ask(signed()), self.ask(signed())
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.web.answer(key_set(public("RS")))
        self.assertEqual(Identity(USER), self.successResultOf(second))

    def test_file(self) -> None:
        """A file is read again when it has changed; one that is missing or broken is a fault of ours."""
        path = Path(self.mktemp())
        self.tokens = self.checker(Signed(FileKeys(path)))
        self.failureResultOf(self.ask(signed()), NotNow)
        path.write_bytes(key_set(public("RS")))
        self.assert_granted(signed())
        self.assert_refused(signed(key="RS-2"), "unknown key")
        new = path.with_suffix(".new")
        new.write_bytes(key_set(public("RS-2")))
        new.rename(path)
        self.assert_granted(signed(key="RS-2"))
        path.write_bytes(b"{}")
        self.assertIn("no JWK Set", str(self.failureResultOf(self.ask(signed()), NotNow).value))

"""An issuer of tokens for tests: keys of each kind, JWTs signed with them, and the web server it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.interfaces import IWebClient
from mta.web import WebAnswer, WebRequest

NOW = 1_800_000_000.0
ISSUER = "https://id.test"
AUDIENCE = "mail"
USER = "alice@example.org"
CLAIMS: Mapping[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "exp": NOW + 3600,
    "nbf": NOW - 60,
    "email": USER,
    "scope": "openid smtp.send",
}

_MAKERS: dict[str, Any] = {
    "RS": lambda: rsa.generate_private_key(65_537, 2048),
    "WEAK": lambda: rsa.generate_private_key(65_537, 1024),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ES256K": lambda: ec.generate_private_key(ec.SECP256K1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
_FORMS: dict[str, Any] = {"R": RSAAlgorithm, "W": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}


@cache
def private(kind: str) -> Any:
    """The private key of this name, the same in the whole run: "RS", "ES256" and so on, with "-2" for a second one."""
    return _MAKERS[kind.partition("-")[0]]()


def public(kind: str, **more: Any) -> dict[str, Any]:
    """The public key as an entry of a JWK Set, its name as "kid"."""
    form = next(form for start, form in _FORMS.items() if kind.startswith(start))
    return {**form.to_jwk(private(kind).public_key(), as_dict=True), "kid": kind, **more}


def key_set(*entries: Any) -> bytes:
    return json.dumps({"keys": entries}).encode()


def signed(
    claims: Mapping[str, Any] = CLAIMS, key: str = "RS", algorithm: str = "RS256", header: Any = None, **changed: Any
) -> str:
    """A JWT; `changed` are claims, None for one to leave out, and `header` replaces the usual one, with "kid"."""
    told = {name: value for name, value in {**claims, **changed}.items() if value is not None}
    payload = json.dumps(told).encode()
    return PyJWS().encode(payload, private(key), algorithm, {"kid": key} if header is None else header)


def answer(body: Any, status: int = 200) -> WebAnswer:
    """What a web server says; anything but octets becomes JSON."""
    return WebAnswer(status, ("application/json",), body if isinstance(body, bytes) else json.dumps(body).encode())


@implementer(IWebClient)
class FakeWeb:
    """Keeps what is asked; the test answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[WebRequest, Deferred[WebAnswer]]] = []

    def ask(self, request: WebRequest) -> Deferred[WebAnswer]:
        answered: Deferred[WebAnswer] = Deferred()
        self.asked.append((request, answered))
        return answered

    def answer(self, body: Any, status: int = 200) -> WebRequest:
        """Answer what was asked first."""
        request, answered = self.asked.pop(0)
        answered.callback(answer(body, status))
        return request

    def fail(self, error: Exception) -> None:
        _request, answered = self.asked.pop(0)
        answered.errback(error)

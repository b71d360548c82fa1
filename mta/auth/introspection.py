"""
Ask the issuer what a token says (RFC 7662).

Owns: the request, its answer, and the answers that are kept for a while, by the hash of the token.
Never: weighs what the token says; keeps a token.
Fails: `TokenRefused` where the token is none; `IntrospectionError` where it can't be said.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote_plus, urlencode

from twisted.internet.defer import Deferred, DeferredSemaphore, fail, succeed

from mta.auth.claims import Claims, TokenRefused, ends
from mta.auth.credentials import NotNow
from mta.interfaces import IWebClient
from mta.web import WebAnswer, WebRequest

TIMEOUT = 10.0
# Answers that are kept; each has some hundred octets.
MAX_KEPT = 10_000
# Requests at once, and who may wait for one: strangers must not have us flood the issuer.
AT_ONCE = 20
WAITING = 100


class IntrospectionError(NotNow):
    """The endpoint did not say whether the token is good."""


class Introspection:
    """
    `keep` is how long, in seconds, an answer is good; never beyond the end of the token.

    `seconds` is the time that passes, `wall` what a calendar says: tokens end by that.
    """

    def __init__(
        self,
        web: IWebClient,
        *,
        url: str,
        client_id: str,
        client_secret: str,
        keep: float,
        seconds: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._web = web
        self._url = url
        # RFC 6749 2.3.1: each is encoded as in a form, for either may have a colon in it.
        both = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        self._authorization = f"Basic {b64encode(both.encode()).decode('ascii')}"
        self._keep = keep
        self._seconds = seconds
        self._wall = wall
        self._kept: dict[bytes, tuple[Claims, float]] = {}
        self._turns = DeferredSemaphore(AT_ONCE)

    def claims(self, token: str) -> Deferred[Claims]:
        """What the token says."""
        name = hashlib.sha256(token.encode()).digest()
        kept = self._kept.get(name)
        if kept is not None and self._seconds() < kept[1]:
            return succeed(kept[0])
        self._kept.pop(name, None)
        if len(self._turns.waiting) >= WAITING:
            return fail(IntrospectionError("too many logins at once"))
        asked: Deferred[Claims] = self._turns.run(self._ask, token)
        return asked.addCallback(self._keep_for_a_while, name)

    def _ask(self, token: str) -> Deferred[Claims]:
        request = WebRequest(
            self._url,
            "POST",
            (
                ("Authorization", self._authorization),
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Accept", "application/json"),
            ),
            urlencode({"token": token, "token_type_hint": "access_token"}).encode("ascii"),
            timeout=TIMEOUT,
        )
        return self._web.ask(request).addCallback(self._read)

    def _read(self, answer: WebAnswer) -> Claims:
        if answer.status == 401:  # RFC 7662 2.3: it speaks of us, and not of the token
            raise IntrospectionError(f"{self._url} takes neither client_id nor client_secret (401)")
        if answer.status != 200:
            raise IntrospectionError(f"{self._url} answered {answer.status}")
        try:
            claims = json.loads(answer.body)
        except (ValueError, RecursionError):
            claims = None
        if not isinstance(claims, dict) or not isinstance(claims.get("active"), bool):
            raise IntrospectionError(f"{self._url} sent no answer of introspection (RFC 7662 2.2)")
        if not claims["active"]:
            raise TokenRefused("not active")
        return claims

    def _keep_for_a_while(self, claims: Claims, name: bytes) -> Claims:
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]  # the oldest
        left = min(self._keep, ends(claims) - self._wall())
        self._kept[name] = claims, self._seconds() + left
        return claims

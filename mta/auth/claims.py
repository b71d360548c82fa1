"""
What a token says, and whether that is enough.

Owns: issuer, audience, time, scope and user, as they stand in a JWT (RFC 7519 4.1) and in the answer of an
introspection endpoint (RFC 7662 2.2): the names are the same.
Never: knows whether the claims are true (`mta/auth/jwks.py`, `mta/auth/introspection.py`).
Fails: `TokenRefused`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mta.auth.userfile import name_of

Claims = Mapping[str, Any]

# Seconds that the issuer's clock may be ahead of ours (RFC 7519 4.1.5); an expired token has had its time.
LEEWAY = 30.0
# The end of the year 9999: what lies beyond is no time of a token.
_LAST = 253_402_300_799
# RFC 6750 3.1
INVALID = "invalid_token"
LACKS_SCOPE = "insufficient_scope"


class TokenRefused(Exception):  # noqa: N818
    """The token will not do: the reason, which is for the log, and the status that a client is told."""

    def __init__(self, reason: str, status: str = INVALID) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Demands:
    """
    What a token must say: its issuer ("" for any), one of the audiences (none: any), each of the scopes.

    `user_claim` names the user. `expires`: a token without an end is refused.
    """

    issuer: str = ""
    audiences: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    user_claim: str = "email"
    expires: bool = True

    def user(self, claims: Claims, now: float) -> str:
        """Whose token it is, as users are compared. Raises `TokenRefused`."""
        if self.issuer and claims.get("iss") != self.issuer:
            raise TokenRefused("another issuer")
        # RFC 7519 4.1.3: whoever is not among the audience must refuse; the token was given to somebody else.
        if self.audiences and not self.audiences & _texts(claims.get("aud")):
            raise TokenRefused("for another audience")
        self._check_time(claims, now)
        # "scp" is Microsoft's and Okta's name of it, and a list there.
        if not self.scopes <= _words(claims.get("scope")) | _words(claims.get("scp")):
            raise TokenRefused("not for sending mail: it lacks a scope", LACKS_SCOPE)
        return self._named(claims)

    def _check_time(self, claims: Claims, now: float) -> None:
        end, begin = _time(claims, "exp"), _time(claims, "nbf")
        if end is None and self.expires:
            raise TokenRefused("without an end")
        if end is not None and end <= now:
            raise TokenRefused("expired")
        if begin is not None and begin > now + LEEWAY:
            raise TokenRefused("not yet valid")

    def _named(self, claims: Claims) -> str:
        claim = claims.get(self.user_claim)
        # Where people enter their addresses themselves, one that is not verified is anybody's. Some send it as a text.
        if self.user_claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            raise TokenRefused("the address is not verified")
        if not isinstance(claim, str):
            raise TokenRefused(f"without {self.user_claim}")
        try:
            return name_of(claim)
        except ValueError:
            raise TokenRefused(f"its {self.user_claim} is no name of a user") from None


def ends(claims: Claims) -> float:
    """When the token expires, in seconds since 1970; never for one that does not. Raises `TokenRefused`."""
    end = _time(claims, "exp")
    return math.inf if end is None else end


def _time(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # RFC 7519 2, NumericDate. Python's JSON has NaN and Infinity as well, and its truth is a number.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST:
        raise TokenRefused(f"its {name} is no time")
    return value


def _texts(value: object) -> frozenset[str]:
    """A text, or a list of some."""
    listed = value if isinstance(value, list) else [value]
    return frozenset(each for each in listed if isinstance(each, str))


def _words(value: object) -> frozenset[str]:
    """The scopes in a text (RFC 6749 3.3), or in a list."""
    return frozenset(word for text in _texts(value) for word in text.split(" ") if word)

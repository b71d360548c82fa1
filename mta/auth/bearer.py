"""
OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's and Microsoft's form of it): the client shows a token.

Owns: their messages, and the answer that tells a client why its token will not do.
Never: looks into a token; keeps one longer than it takes to ask.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from twisted.internet.defer import Deferred

from mta.auth.credentials import BearerToken
from mta.identity import Challenge, Malformed, Refused, Step

# Asks the portal.
Ask = Callable[[BearerToken], "Deferred[Step]"]
# Who the client says it is ("" for whomever the token names), and the token.
Read = Callable[[str], tuple[str, str]]

# RFC 7628 3.1: the gs2-header of RFC 5801 4, then pairs. There is no -PLUS, so no channel binding ("p=").
_MESSAGE = re.compile(r"[ny],(?:a=((?:[^,=\x00\x01]|=2C|=3D)+))?,\x01((?:[A-Za-z]+=[^\x01]*\x01)*)\x01")
# Google's: the same pairs, the user among them.
_PAIRS = re.compile(r"((?:[A-Za-z]+=[^\x01]*\x01)*)\x01")
# RFC 6750 2.1; the name of the scheme has no case (RFC 9110 11.1).
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE | re.ASCII)


class NoMessage(Exception):  # noqa: N818
    """What came is no message of the mechanism."""


def oauthbearer(text: str) -> tuple[str, str]:
    """The message of OAUTHBEARER. Raises `NoMessage`."""
    found = _MESSAGE.fullmatch(text)
    if not found:
        raise NoMessage("no gs2-header with pairs behind it")
    user = (found[1] or "").replace("=2C", ",").replace("=3D", "=")
    return user, _token(_pairs(found[2]))


def xoauth2(text: str) -> tuple[str, str]:
    """The message of XOAUTH2. Raises `NoMessage`."""
    found = _PAIRS.fullmatch(text)
    if not found:
        raise NoMessage("no pairs")
    pairs = _pairs(found[1])
    if not pairs.get("user"):
        raise NoMessage("XOAUTH2 names a user")
    return pairs["user"], _token(pairs)


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in text.split("\x01")[:-1]:
        name, _, value = pair.partition("=")
        if name in found:
            raise NoMessage("a key is there twice")
        found[name] = value
    return found


def _token(pairs: dict[str, str]) -> str:
    found = _BEARER.fullmatch(pairs.get("auth", ""))
    if not found:
        raise NoMessage("no bearer token")
    return found[1]


class Bearer:
    """One conversation: `read` takes the message, `refusal` makes what a client is told when its token will not do."""

    def __init__(self, read: Read, login: Ask, refusal: Callable[[Refused], bytes]) -> None:
        self._read = read
        self._login = login
        self._refusal = refusal
        self._refused: Refused | None = None

    def start(self) -> Step:
        return Challenge()

    def respond(self, data: bytes) -> Step | Deferred[Step]:
        if self._refused is not None:
            # RFC 7628 3.2.3 has the client send one octet, clients of XOAUTH2 send none; it is over whatever it is.
            return self._refused
        try:
            user, token = self._read(data.decode())
        except UnicodeDecodeError:
            return Malformed("the message is UTF-8")
        except NoMessage as error:
            return Malformed(str(error))
        return self._login(BearerToken(user, token)).addCallback(self._judged)

    def _judged(self, step: Step) -> Step:
        if not isinstance(step, Refused):
            return step
        self._refused = step
        return Challenge(self._refusal(step), step)


def bearer_refusal(scope: str, openid_configuration: str) -> Callable[[Refused], bytes]:
    """What OAUTHBEARER says of a token (RFC 7628 3.2.2)."""
    terms = {"scope": scope, "openid-configuration": openid_configuration}
    told = {name: value for name, value in terms.items() if value}
    return lambda refused: json.dumps({"status": refused.status or "invalid_token", **told}).encode()


def xoauth2_refusal(scope: str) -> Callable[[Refused], bytes]:
    """What XOAUTH2 says of a token, in Google's words."""
    told = {"status": "401", "schemes": "bearer", **({"scope": scope} if scope else {})}
    return lambda _refused: json.dumps(told).encode()

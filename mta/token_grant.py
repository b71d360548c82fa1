"""
How an access token is asked for (OAuth 2.0, RFC 6749), and what the answer says.

Owns: the requests of the client credentials grant (4.4) and of the refresh token grant (6), and reading their answers.
Never: sends one (`mta/delivery/tokens.py`); shows a secret: not in a text of itself, not in a reason.
Fails: `TokenError`, for an answer that has no token.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

from mta.web import WebAnswer, WebRequest

# RFC 6749 5.1 only recommends expires_in. An hour is what most servers give.
USUAL_LIFETIME = 3600.0
LONGEST_LIFETIME = 90 * 86_400.0
# RFC 6749 4.4, 6: mail waits for it, so it has not the whole minute of other requests.
TIMEOUT = 30.0
# RFC 4954 4: 12,288 octets of base64 for all that is said in one go.
MAX_TOKEN = 8192
# RFC 6750 2.1, b64token; and what else fits into a line of a mechanism.
_TOKEN = re.compile(r"[!-~]+")
# RFC 6749 A.7, A.8
_ERROR = re.compile(r"[ !#-\[\]-~]{1,80}")


class TokenError(Exception):
    """There is no token in an answer; its text is the end of a sentence."""


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """
    Where the tokens called `name` come from: `url` is the token endpoint, `refresh_token` "" for client credentials.

    `in_body`: the client's secret goes into the body, and not into an Authorization field (RFC 6749 2.3.1).
    """

    name: str
    url: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    scope: str = ""
    refresh_token: str = field(default="", repr=False)
    in_body: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """An access token, good for `lifetime` seconds; `refresh_token` is the next one, "" where the old one stays."""

    token: str = field(repr=False)
    lifetime: float
    refresh_token: str = field(default="", repr=False)


def token_request(grant: TokenGrant, refresh_token: str) -> WebRequest:
    """The request for a token, with the refresh token that is valid now, if there is one."""
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if not refresh_token:
        fields = {"grant_type": "client_credentials"}
    if grant.scope:
        fields["scope"] = grant.scope
    headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")]
    if grant.client_secret and not grant.in_body:
        # RFC 6749 2.3.1: both are encoded as in a form before they are put together.
        pair = f"{quote_plus(grant.client_id)}:{quote_plus(grant.client_secret)}"
        headers.append(("Authorization", f"Basic {b64encode(pair.encode()).decode('ascii')}"))
    else:
        fields["client_id"] = grant.client_id
        if grant.client_secret:
            fields["client_secret"] = grant.client_secret
    return WebRequest(grant.url, "POST", tuple(headers), urlencode(fields).encode("ascii"), timeout=TIMEOUT)


def granted(answer: WebAnswer) -> Granted:
    """The token in an answer. Raises `TokenError`."""
    try:
        fields = json.loads(answer.body)
    except (ValueError, RecursionError):
        fields = None
    if answer.status != 200:
        raise TokenError(f"it answered {answer.status}{_error(fields)}")
    if not isinstance(fields, dict):
        raise TokenError("its answer is no JSON object")
    token, kind, refresh = (fields.get(name) for name in ("access_token", "token_type", "refresh_token"))
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or len(token) > MAX_TOKEN:
        raise TokenError("its answer has no access_token that can be used")
    if not isinstance(kind, str) or kind.lower() != "bearer":  # RFC 6749 7.1: nothing else is understood here
        raise TokenError("its answer has a token_type other than bearer")
    if refresh is not None and not isinstance(refresh, str):
        raise TokenError("its answer has a refresh_token that is no text")
    return Granted(token, _lifetime(fields.get("expires_in")), refresh or "")


def _lifetime(value: object) -> float:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):  # some servers quote it
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return USUAL_LIFETIME
    return min(float(value), LONGEST_LIFETIME)


def _error(fields: Any) -> str:
    """The words of an error answer (RFC 6749 5.2), as far as they can be shown."""
    if not isinstance(fields, dict):
        return ""
    error, description = fields.get("error"), fields.get("error_description")
    if not isinstance(error, str) or not _ERROR.fullmatch(error):
        return ""
    if not isinstance(description, str) or not description:
        return f": {error}"
    words = " ".join(description.split())[:200]
    shown = "".join(each if each.isascii() and each.isprintable() else "?" for each in words)
    return f": {error} ({shown})"

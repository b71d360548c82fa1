"""
OAUTHBEARER (RFC 7628) and XOAUTH2 (the same, as it was before the RFC) as a client.

Owns: their messages, and what a server's error says.
Never: knows where the token comes from.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode

from mta.login import OAUTHBEARER, XOAUTH2, Login
from mta.scram_secrets import quoted
from mta.smtp.exchange import ExchangeError

_STATUS = re.compile(r"[ -~]{1,80}")


class Bearer:
    """One exchange, of either mechanism: the password of the login is the token."""

    def __init__(self, login: Login, mechanism: str) -> None:
        self.mechanism = mechanism
        self.is_complete = True
        self.told = ""
        self._login = login

    def initial(self) -> bytes:
        bearer = f"auth=Bearer {self._login.password}"
        if self.mechanism == XOAUTH2:
            return f"user={self._login.user}\1{bearer}\1\1".encode()
        # RFC 5801 4: the authorization identity is a saslname.
        return f"n,a={quoted(self._login.user)},\1{bearer}\1\1".encode()

    def respond(self, challenge: str) -> bytes:
        """A challenge is an error; the refusal itself comes when it was answered (RFC 7628 3.2.3)."""
        if not self.is_complete:
            raise ExchangeError("a challenge when all is said")
        self.is_complete = False
        self.told = _status(challenge)
        return b"\1" if self.mechanism == OAUTHBEARER else b""


def _status(challenge: str) -> str:
    """The "status" of the server's JSON, "" where there is none that can be shown."""
    try:
        fields = json.loads(b64decode(challenge, validate=True))
    except (ValueError, RecursionError):
        return ""
    status = str(fields.get("status", "")) if isinstance(fields, dict) else ""
    return status if _STATUS.fullmatch(status) else ""

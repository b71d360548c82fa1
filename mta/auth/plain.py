"""
PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login): the client tells its password.

Owns: their messages.
Never: decides on a password.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from mta.auth.credentials import Password
from mta.identity import Challenge, Malformed, Refused, Step

# Asks the portal.
Ask = Callable[[Password], "Deferred[Step]"]


class Plain:
    """One message: who to act as, who it is, the password, with a NUL between each."""

    def __init__(self, login: Ask, client: str) -> None:
        self._login = login
        self._client = client

    def start(self) -> Step:
        return Challenge()

    def respond(self, data: bytes) -> Step | Deferred[Step]:
        parts = data.split(b"\0")
        if len(parts) != 3 or not parts[1] or not parts[2]:
            return Malformed("PLAIN has a name and a password behind a NUL each")
        try:
            acts_as, user, password = (part.decode() for part in parts)
        except UnicodeDecodeError:
            return Malformed("PLAIN is UTF-8")
        if acts_as and acts_as != user:
            return Refused("nobody may act as another", user)
        return self._login(Password(user, password, self._client))


class LoginMechanism:
    """Two questions, the name and the password."""

    def __init__(self, login: Ask, client: str) -> None:
        self._login = login
        self._client = client
        self._user: str | None = None

    def start(self) -> Step:
        return Challenge(b"Username:")

    def respond(self, data: bytes) -> Step | Deferred[Step]:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return Malformed("LOGIN is UTF-8")
        if not text or "\0" in text:
            return Malformed("LOGIN has a name and a password")
        if self._user is None:
            self._user = text
            return Challenge(b"Password:")
        return self._login(Password(self._user, text, self._client))

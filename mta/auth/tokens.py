"""
The checker of tokens (OAuth 2.0): who the bearer of one is.

Owns: the way from a token to a user, and that nobody acts as another.
Never: knows where claims come from (`mta/auth/keys.py`, `mta/auth/introspection.py`).
Fails: its Deferreds with `UnauthorizedToken` for a token that will not do, with `NotNow` where it can't be said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.auth.claims import Claims, Demands, TokenRefused
from mta.auth.credentials import BearerToken, IBearerToken, NotNow
from mta.auth.jwks import Key, UnknownKey, verified
from mta.auth.userfile import name_of
from mta.identity import Identity
from mta.web import WebError


class UnauthorizedToken(UnauthorizedLogin):
    """The token will not do; `status` is what its bearer is told."""

    def __init__(self, reason: str, status: str) -> None:
        super().__init__(reason)
        self.status = status


class Source(Protocol):
    """Where claims come from."""

    def claims(self, token: str) -> Deferred[Claims]:
        """What the token says. Fails with `TokenRefused`, or with `NotNow` or `WebError`."""


class Keys(Protocol):
    """The keys of the issuer: `FileKeys` or `WebKeys`."""

    def current(self) -> Deferred[tuple[Key, ...]]:
        """Those that are known."""

    def renewed(self) -> Deferred[tuple[Key, ...]]:
        """Those that there are now."""


class Signed:
    """Claims that the issuer has signed."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def claims(self, token: str) -> Deferred[Claims]:
        """What a JWT says."""
        return Deferred.fromCoroutine(self._claims(token))

    async def _claims(self, token: str) -> Claims:
        try:
            return verified(token, await self._keys.current())
        except UnknownKey:
            return verified(token, await self._keys.renewed())


@implementer(ICredentialsChecker)
class Tokens:
    """
    `known` gives what else is known of a user, and fails with `UnauthorizedLogin` for one who may not log in.

    `scope` and `openid_configuration` are what the bearer of a bad token is told: what it must say, and who gives it.
    """

    credentialInterfaces = (IBearerToken,)

    def __init__(
        self,
        source: Source,
        demands: Demands,
        *,
        wall: Callable[[], float],
        openid_configuration: str = "",
        known: Callable[[str], Identity] = Identity,
    ) -> None:
        self._source = source
        self._demands = demands
        self._wall = wall
        self._known = known
        self.scope = " ".join(sorted(demands.scopes))
        self.openid_configuration = openid_configuration

    def requestAvatarId(self, credentials: BearerToken) -> Deferred[Any]:
        """The identity of the user that the token names."""
        return Deferred.fromCoroutine(self._identity(credentials))

    async def _identity(self, credentials: BearerToken) -> Identity:
        try:
            claims = await self._source.claims(credentials.token)
            user = self._demands.user(claims, self._wall())
        except TokenRefused as error:
            raise UnauthorizedToken(f"the token: {error}", error.status) from None
        except WebError as error:
            raise NotNow(str(error)) from None
        if credentials.username and not _same(credentials.username, user):
            raise UnauthorizedToken("the token is another user's", "invalid_token")
        return self._known(user)


def _same(told: str, user: str) -> bool:
    try:
        return name_of(told) == user
    except ValueError:
        return False

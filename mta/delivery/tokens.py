"""
Access tokens for next hops, each fetched before the one before it ends.

Owns: when a token is fetched, that one fetch serves all who wait, what becomes of a token that a next hop rejects.
Never: knows a mechanism of SASL (`mta/smtp/client_oauth.py`) or a form of RFC 6749 (`mta/token_grant.py`).
Fails: never; without a token there is a `Deferral`, for it is our own trouble.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from mta.delivery.token_store import TokenStore
from mta.interfaces import ITokens, IWebClient
from mta.outcome import Deferral, Phase, Scope
from mta.token_grant import Granted, TokenError, TokenGrant, granted, token_request
from mta.web import WebError

Note = Callable[[str, Mapping[str, str]], None]
Found = str | Deferral

# A new token is fetched when so much of a lifetime is over, less what chance takes: workers and hosts that began
# together must not stay together.
RENEWED_AT, SPREAD = 0.8, 0.1
# Seconds from a failed fetch to the next one: the first, and the longest (it doubles).
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
# How often, and how long, another process is waited for that fetches with the same refresh token.
_TURN_WAIT, _TURN_PATIENCE = 0.25, 60.0


@dataclass(frozen=True, slots=True)
class _Held:
    """A token, when a new one is due, and when it ends; seconds on the clock."""

    token: str = field(repr=False)
    renewal: float
    end: float


class TokenSource:
    """The tokens of one grant. `web` asks its endpoint."""

    def __init__(
        self,
        grant: TokenGrant,
        *,
        web: IWebClient,
        store: TokenStore,
        clock: IReactorTime,
        rng: random.Random,
        run_in_thread: Callable[..., Deferred[Any]],
        note: Note,
    ) -> None:
        self._grant = grant
        self._web = web
        self._store = store
        self._clock = clock
        self._rng = rng
        self._run_in_thread = run_in_thread
        self._note = note
        self._held: _Held | None = None
        self._unstored = ""  # a refresh token that the disk had no room for
        self._fetching: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._failed: Deferral | None = None
        self._pause = 0.0
        self._rest_until = 0.0

    def token(self) -> Deferred[Found]:
        """A token that is good now; at once, where there is one: mail does not wait for its successor."""
        now = self._clock.seconds()
        held = self._held
        if held is not None and now < held.end:
            if now >= held.renewal:
                self._begin(now)
            return succeed(held.token)
        return Deferred.fromCoroutine(self._new(now))

    def another(self, rejected: str) -> Deferred[Found | None]:
        """Another token in the place of one that was rejected; None where the same one is all there is."""
        if self._held is not None and self._held.token == rejected:
            self._held = None
        return Deferred.fromCoroutine(self._another(rejected))

    def stop(self) -> None:
        """Fetch no more; those who wait get a deferral."""
        if self._fetching is not None:
            self._fetching.cancel()

    async def _another(self, rejected: str) -> Found | None:
        found = await self.token()
        if found == rejected:
            self._held = None  # the endpoint had nothing else; it is asked again for the next attempt
            return None
        return found

    async def _new(self, now: float) -> Found:
        self._begin(now)
        if self._fetching is not None:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
        if self._held is not None and self._clock.seconds() < self._held.end:
            return self._held.token
        return self._failed or self._trouble("there is none yet")

    def _begin(self, now: float) -> None:
        """Fetch, unless that is under way or has only just failed."""
        if self._fetching is not None or self._rest_until - LONGEST_PAUSE <= now < self._rest_until:
            return
        self._fetching = Deferred.fromCoroutine(self._fetch())
        self._fetching.addBoth(self._fetched)

    def _fetched(self, _result: object) -> None:
        self._fetching = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    async def _fetch(self) -> None:
        try:
            found = await self._ask()
        except (TokenError, WebError, OSError) as error:
            self._has_failed(str(error))
        except CancelledError:
            self._failed = self._trouble("this server is shutting down")
        except Exception as error:  # a fault of our own; its text may be anything
            self._has_failed(f"internal error: {type(error).__name__}")
        else:
            self._has(found)

    async def _ask(self) -> Granted:
        grant = self._grant
        if not grant.refresh_token:
            return granted(await self._web.ask(token_request(grant, "")))
        turn = await self._turn()
        try:
            current = self._unstored or self._store.current(grant.name, grant.refresh_token)
            found = granted(await self._web.ask(token_request(grant, current)))
            if self._unstored or found.refresh_token not in ("", current):
                await self._keep(found.refresh_token or self._unstored)
            return found
        finally:
            os.close(turn)

    async def _turn(self) -> int:
        for _ in range(int(_TURN_PATIENCE / _TURN_WAIT)):
            turn = self._store.turn(self._grant.name)
            if turn is not None:
                return turn
            await deferLater(self._clock, _TURN_WAIT)
        raise TokenError("another process has been at it for a minute")

    async def _keep(self, refresh_token: str) -> None:
        """Write the next refresh token down before anything else: the old one may be of no use any more."""
        self._unstored = refresh_token
        try:
            await self._run_in_thread(self._store.write, self._grant.name, self._grant.refresh_token, refresh_token)
        except OSError as error:
            # It is written with the next one. Until then this process alone knows it.
            self._tell("token-not-stored", reason=f"cannot write the new refresh token: {error.strerror or error}")
        else:
            self._unstored = ""

    def _has(self, found: Granted) -> None:
        now = self._clock.seconds()
        self._held = _Held(
            found.token,
            now + found.lifetime * (RENEWED_AT - SPREAD * self._rng.random()),
            now + found.lifetime,
        )
        self._failed, self._pause, self._rest_until = None, 0.0, 0.0
        self._tell("token-fetched", lifetime=f"{found.lifetime:.0f}")

    def _has_failed(self, reason: str) -> None:
        first = self._failed is None
        self._failed = self._trouble(reason)
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        self._rest_until = self._clock.seconds() + self._pause
        if first:
            self._tell("token-failed", reason=reason)

    def _trouble(self, reason: str) -> Deferral:
        host = urlsplit(self._grant.url).hostname
        why = f"no access token {self._grant.name} is to be had from {host}: {reason}"
        return Deferral(why, Phase.AUTH, Scope.OURSELVES, enhanced="4.7.0")

    def _tell(self, kind: str, **fields: str) -> None:
        self._note(kind, {"token": self._grant.name, "url": self._grant.url.partition("?")[0], **fields})


@implementer(ITokens)
class Tokens:
    """All sources, by their names."""

    def __init__(self, sources: Mapping[str, TokenSource]) -> None:
        self._sources = dict(sources)

    def token(self, name: str) -> Deferred[Found]:
        return self._sources[name].token()

    def another(self, name: str, rejected: str) -> Deferred[Found | None]:
        return self._sources[name].another(rejected)

    def stop(self) -> None:
        for source in self._sources.values():
            source.stop()

"""
Come to a connection with one server that is ready for mail.

Owns: the tries that this may take: the one in clear where TLS need not be and fails, the one with another token where
the first was rejected; and whether it is worth a try at all.
Never: chooses the server, or makes the connection itself (`mta/delivery/connecting.py`).
Fails: never; without a connection there is a `Deferral`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from mta.delivery.clear_text import ClearText
from mta.delivery.connecting import Connector, Server
from mta.delivery.connection import ClientConnection
from mta.delivery.rejected_logins import Note, RejectedLogins, is_rejection
from mta.destination import Destination, Transport
from mta.interfaces import ITokens
from mta.login import Login
from mta.outcome import Deferral, Phase, Scope
from mta.tls_policy import TlsLevel

if TYPE_CHECKING:
    from mta.delivery.tls_sessions import TlsWatch

Watch = Callable[[], "TlsWatch | None"]

STOPPED = Deferral("this server is shutting down", Phase.QUEUE, Scope.OURSELVES, enhanced="4.3.2")
_NO_TOKENS = Deferral("access tokens are not to be had here", Phase.AUTH, Scope.OURSELVES, enhanced="4.3.5")


class Entrance:
    """`stop` has all tries end that have not begun. `tokens` are for logins that have none of their own."""

    def __init__(self, connector: Connector, clock: IReactorTime, tokens: ITokens | None, note: Note) -> None:
        self._connector = connector
        self._clock = clock
        self._tokens = tokens
        self._rejected = RejectedLogins(note)
        self._clear_text = ClearText()
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    async def open(
        self, destination: Destination, server: Server, watch: Watch = lambda: None
    ) -> ClientConnection | Deferral:
        """A connection, or why there is none; each that may begin TLS has a `watch` of its own."""
        now = self._clock.seconds()
        login = destination.login
        why = STOPPED if self._stopped else self._rejected.why_not(server, login, now)
        if why is not None:
            return why
        opened = await self._logged_in(destination, server, login, watch)
        self._rejected.concluded(server, login, opened if isinstance(opened, Deferral) else None, now)
        return opened

    async def _logged_in(
        self, destination: Destination, server: Server, login: Login | None, watch: Watch
    ) -> ClientConnection | Deferral:
        if login is None or not login.token:
            return await self._connect(destination, server, login, watch)
        if self._tokens is None:
            return _NO_TOKENS
        token = await self._tokens.token(login.token)
        if isinstance(token, Deferral):
            return token
        opened = await self._connect(destination, server, replace(login, password=token), watch)
        if isinstance(opened, Deferral) and is_rejection(opened):
            # It may have been taken back before its time. Another one is tried once: then it is not the token.
            other = await self._tokens.another(login.token, token)
            if isinstance(other, str):
                opened = await self._connect(destination, server, replace(login, password=other), watch)
        return opened

    async def _connect(
        self, destination: Destination, server: Server, login: Login | None, watch: Watch
    ) -> ClientConnection | Deferral:
        """
        Where TLS need not be and fails, there is one more try in clear, and for a day no other: RFC 7435 3 would rather
        have the mail delivered.
        """
        if self._stopped:
            return STOPPED
        is_optional = server.policy.level is TlsLevel.MAY and destination.next_hop.transport is not Transport.SMTPS
        now = self._clock.seconds()
        no_tls = self._clear_text.why(server.address, server.port, now) if is_optional else ""
        opened = await self._connector.connect(destination, server, no_tls, login, None if no_tls else watch())
        if not is_optional or no_tls:
            return opened
        if isinstance(opened, ClientConnection):
            if opened.tls_refused:
                self._clear_text.failed(server.address, server.port, opened.tls_refused, now)
            return opened
        if opened.phase is not Phase.TLS or opened.reply is not None or opened.scope is Scope.OURSELVES:
            return opened
        self._clear_text.failed(server.address, server.port, opened.reason, now)
        return STOPPED if self._stopped else await self._connector.connect(destination, server, opened.reason, login)

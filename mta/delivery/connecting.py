"""
Make connections to mail servers, over TCP or to a UNIX socket.

Owns: which session a connection speaks with, where it comes from, how long it may take.
Never: chooses the server, keeps a connection.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTCP, IReactorTime, IReactorUNIX

from mta.delivery.connection import ClientConnection, Opened
from mta.delivery.connection_factory import ConnectionFactory
from mta.delivery.timeouts import ClientTimeouts
from mta.destination import Destination, Transport
from mta.interfaces import IClientTls
from mta.login import Login
from mta.outcome import Deferral, Phase, Scope, judge_exception
from mta.smtp.client import ClientSession
from mta.smtp.client_opening import NO_WISH, Encryption, TlsWish
from mta.tls_policy import DEFAULT_POLICY, TlsLevel, TlsPolicy, TlsSource

if TYPE_CHECKING:
    from mta.delivery.tls_sessions import TlsWatch

_NONCE = 18  # octets


class IReactorSMTP(IReactorTCP, IReactorUNIX, IReactorTime):
    """What the client needs of a reactor: to connect, and the time."""


@dataclass(frozen=True, slots=True)
class Server:
    """
    One place to connect to: an IP address and port of the host `name`, or, with port 0, the path of a socket.

    `policy` is what is demanded of it.
    """

    name: str
    address: str
    port: int
    policy: TlsPolicy = DEFAULT_POLICY

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]:{self.port}" if self.port else self.address


class Connector:
    """
    Connects for one agent.

    `hello` is our name; `bdat` as in `ClientSession`; `source_address` is the local IP address for connections of its
    family, "" for the system's choice; paths of sockets start at `base`. `freed` and `gone` as in `ClientConnection`;
    without `tls` there is none. `nonce` makes random text that nobody guesses (RFC 5802 5.1).
    """

    def __init__(
        self,
        *,
        reactor: IReactorSMTP,
        timeouts: ClientTimeouts,
        hello: str,
        bdat: bool,
        source_address: str,
        base: Path,
        freed: Callable[[ClientConnection], None],
        gone: Callable[[ClientConnection], None],
        tls: IClientTls | None = None,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(_NONCE),
    ) -> None:
        self._tls = tls
        self._nonce = nonce
        self._reactor = reactor
        self._connect_timeout = timeouts.connect
        self._seconds = timeouts.by_stage()
        self._hello = hello
        self._bdat = bdat
        self._source_address = source_address
        self._base = base
        self._freed = freed
        self._gone = gone

    def connect(
        self,
        destination: Destination,
        server: Server,
        no_tls: str = "",
        login: Login | None = None,
        watch: TlsWatch | None = None,
    ) -> Deferred[ClientConnection | Deferral]:
        """
        A connection that is ready for a transaction, or why there is none.

        `no_tls` is why it is made in clear, where the policy allows that; "" for TLS as the policy says. `login` is
        what the server is told: the destination's own, with the token of today where it takes one. `watch` as in
        `ClientConnection`.
        """
        wish = _wish(destination.next_hop.transport, server.policy, no_tls)
        handshake = None
        if wish.use is not Encryption.NEVER:
            if self._tls is None:
                if server.policy.demands_tls:
                    return succeed(_no_tls_here(server))
                wish = NO_WISH
            else:
                try:
                    handshake = self._tls.handshake(server.policy, server.name)
                except Exception as error:  # authorities that can't be read, a library that is broken
                    return succeed(judge_exception(error, Phase.TLS, str(server)))
        lmtp = destination.next_hop.transport in (Transport.LMTP, Transport.LMTP_UNIX)

        def make(opened: Opened) -> ClientConnection:
            nonce = self._nonce() if login else ""
            session = ClientSession(
                self._hello, str(server), lmtp=lmtp, bdat=self._bdat, wish=wish, login=login, nonce=nonce
            )
            connection = ClientConnection(
                session,
                destination.site,
                self._reactor,
                self._seconds,
                opened,
                self._freed,
                self._gone,
                destination.tls,
                handshake,
                destination.login,
                watch,
            )
            connection.place = (server.name, server.port)
            return connection

        factory = ConnectionFactory(str(server), make)
        if server.port:
            self._reactor.connectTCP(
                server.address, server.port, factory, self._connect_timeout, self._source(server.address)
            )
        else:
            self._reactor.connectUNIX(str(self._base / server.address), factory, self._connect_timeout)
        return factory.opened

    def _source(self, address: str) -> tuple[str, int] | None:
        same_family = bool(self._source_address) and (":" in self._source_address) == (":" in address)
        return (self._source_address, 0) if same_family else None


def _wish(transport: Transport, policy: TlsPolicy, no_tls: str) -> TlsWish:
    """What a session does about TLS."""
    if transport is Transport.SMTPS:
        return TlsWish(Encryption.IMPLICIT, policy.why, policy.requiretls)
    if policy.level is TlsLevel.NONE:
        # LMTP has no TLS unless somebody asks for it, and that is not worth a word in each line.
        by_default = policy.source is TlsSource.DEFAULT and transport not in (Transport.MX, Transport.SMTP)
        return NO_WISH if by_default else TlsWish(Encryption.NEVER, policy.why)
    if policy.level is TlsLevel.MAY:
        return TlsWish(Encryption.NEVER, no_tls) if no_tls else TlsWish(Encryption.IF_OFFERED, policy.why)
    return TlsWish(Encryption.DEMANDED, policy.why, policy.requiretls)


def _no_tls_here(server: Server) -> Deferral:
    reason = f"there is no TLS client here, and TLS is demanded ({server.policy.why})"
    return Deferral(reason, Phase.TLS, Scope.OURSELVES, str(server), enhanced="4.7.4")

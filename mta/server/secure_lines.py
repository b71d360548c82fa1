"""
A line receiver that can begin TLS on its connection.

Owns: the change from clear text to TLS, and what the end of TLS and that of the connection mean for each other.
Never: knows a command, or what a certificate is good for.
Fails: never; a handshake that comes to nothing is told to `handshake_failed`.

The TLS layer is Twisted's, put between us and our transport. Its `startTLS` would go below all that stands on the
socket, a PROXY protocol's wrapper included, and could tell only that of the end of the handshake.

A peer that has said all (close_notify) and waits for our replies is one like any other (RFC 8446 6.1: each direction
closes for itself; Exim does it behind the dot and QUIT). Twisted's layer would close the connection, and the peer would
never learn that its message was taken; so it is not told, see `mta.interfaces.IServerTls.connection`.
"""

# mypy: allow-untyped-calls
# (Twisted's TLS layer has no annotations)

from __future__ import annotations

from typing import Any, cast

from OpenSSL.SSL import Connection, Error
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.encryption import Encryption
from mta.interfaces import IServerTls
from mta.server.lines import PatientLineReceiver, Wire


class SecureLineReceiver(PatientLineReceiver):
    """
    A `PatientLineReceiver` with `start_tls`.

    `handshake_since` is when the handshake that is under way began, None where none is. `encryption` is what it came
    to, None in clear.
    """

    handshake_since: float | None = None
    encryption: Encryption | None = None
    _layer: TLSMemoryBIOProtocol | None = None
    _clear: Wire  # below the layer

    def begin_tls(self, tls: IServerTls, connection: Connection) -> None:
        """
        Drop what the peer has sent in clear, and speak TLS from now on.

        `connection` was made by `tls`, with `peer_closed`. `handshake_done` or `handshake_failed` follows.
        """
        # What came behind STARTTLS may be the word of somebody in between (CVE-2011-0411).
        self._behind = b""
        self.clearLineBuffer()
        clear = self._clear = self.wire
        clear.unregisterProducer()
        self.handshake_since = self.clock.seconds()
        factory = TLSMemoryBIOFactory(_Creator(connection), False, cast("Any", None), self.clock)
        layer = TLSMemoryBIOProtocol(factory, _Above(self, tls, connection), False)
        self._layer = layer
        self._choked = False
        self.transport = layer
        self.wire = cast("Wire", layer)
        layer.makeConnection(clear)
        layer.registerProducer(self, True)

    def look_at_handshake(self, now: float, limit: float) -> None:
        """Break off a handshake that takes longer than `limit` seconds."""
        if self.handshake_since is not None and now - self.handshake_since >= limit:
            self.handshake_since = None
            self.handshake_failed(f"not done within {limit:g} s")
            self.wire.abortConnection()

    def peer_closed(self) -> None:
        """The peer has closed its direction of TLS."""
        super().readConnectionLost()

    def handshake_done(self) -> None:
        """TLS has begun; `encryption` says with what."""
        raise NotImplementedError

    def handshake_failed(self, reason: str) -> None:
        """TLS could not begin, and the connection is closed."""
        raise NotImplementedError

    # From the transport

    def dataReceived(self, data: bytes) -> None:
        if self._layer is None:
            self.plain_received(data)
        else:
            self._layer.dataReceived(data)

    def readConnectionLost(self) -> None:
        layer = self._layer
        if layer is None:
            super().readConnectionLost()
        elif self.handshake_since is not None or self.closing_at is not None:
            self._clear.loseConnection()  # a close_notify that is waited for will not come
        else:
            super().readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        layer, self._layer = self._layer, None
        if layer is not None:
            layer.connectionLost(reason)

    # Closing

    def close(self, last_words: bytes) -> None:
        layer = self._layer
        if layer is None:
            super().close(last_words)
            return
        self.stop_reading()
        layer.unregisterProducer()
        if self.handshake_since is None:
            layer.write(last_words)
            layer.loseConnection()
        # Not when the peer has closed its direction, too: it need not (RFC 8446 6.1).
        self._clear.loseConnection()


@implementer(IOpenSSLServerConnectionCreator)
class _Creator:
    """Hands the connection that is there to Twisted's layer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def serverConnectionForTLS(self, tlsProtocol: object) -> Connection:  # noqa: ARG002
        return self._connection


@implementer(IHandshakeListener)
class _Above(Protocol):
    """What stands on the layer: hands everything to `owner`."""

    def __init__(self, owner: SecureLineReceiver, tls: IServerTls, connection: Connection) -> None:
        self._owner = owner
        self._tls = tls
        self._connection = connection

    def handshakeCompleted(self) -> None:
        owner = self._owner
        if owner.handshake_since is not None:
            owner.handshake_since = None
            owner.encryption = self._tls.outcome(self._connection)
            owner.handshake_done()

    def dataReceived(self, data: bytes) -> None:
        self._owner.plain_received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        owner = self._owner
        if owner.handshake_since is not None:
            owner.handshake_since = None
            owner.handshake_failed(_why(reason.value))


def _why(reason: BaseException | None) -> str:
    """Why a handshake came to nothing, in OpenSSL's words where it has any."""
    if isinstance(reason, Error):
        words = [str(part[-1]) for part in (reason.args[0] if reason.args else ()) if part and part[-1]]
        return "; ".join(words) or "broken off"
    if isinstance(reason, ConnectionDone | ConnectionLost):
        return "the client hung up"
    return str(reason)

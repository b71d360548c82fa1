"""A scripted SMTP server that speaks TLS, over real sockets: by STARTTLS, or from the first octet."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator
from zope.interface import implementer

from tests.peers.certificates import Issued
from tests.peers.scripted import PIPELINING, Script, ScriptedConnection, ScriptedServer

STARTTLS = PIPELINING.replace(b"250-SIZE", b"250-STARTTLS\r\n250-SIZE")
GO = b"220 2.0.0 go ahead\r\n"


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Presents one certificate; `asked_for` are the names that clients asked for (RFC 6066 3), None for no name."""

    def __init__(self, issued: Issued) -> None:
        self.asked_for: list[bytes | None] = []
        self._context = issued.context()
        self._context.set_tlsext_servername_callback(lambda connection: self._asked(connection))

    def serverConnectionForTLS(self, _protocol: object) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return connection

    def _asked(self, connection: SSL.Connection) -> None:
        self.asked_for.append(connection.get_servername())


class TlsConnection(ScriptedConnection):
    """Begins TLS after a 220 to STARTTLS; where the server has no certificate it answers to that with `garbage`."""

    _is_garbled = False

    def lineReceived(self, line: bytes) -> None:
        super().lineReceived(line)
        if line.upper() == b"STARTTLS" and self.factory.begins_tls:
            if self.factory.tls is None:
                self._is_garbled = True
                self.setRawMode()
            else:
                self.transport.startTLS(self.factory.tls)  # type: ignore[attr-defined]

    def rawDataReceived(self, data: bytes) -> None:
        if self._is_garbled:
            self.transport.write(self.factory.garbage)
        else:
            super().rawDataReceived(data)


class TlsServer(ScriptedServer):
    """As `ScriptedServer`, but that it offers STARTTLS."""

    def __init__(self, issued: Issued | None, script: Script | None = None, garbage: bytes = b"") -> None:
        super().__init__({"EHLO": STARTTLS, "STAR": GO, **(script or {})})
        self.tls = ServerTls(issued) if issued else None
        self.garbage = garbage

    @property
    def begins_tls(self) -> bool:
        """Whether its script says yes to STARTTLS."""
        return self.script["STAR"] == GO

    def buildProtocol(self, _addr: IAddress | None) -> Any:
        connection = TlsConnection()
        connection.factory = self
        return connection

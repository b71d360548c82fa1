"""
Make connections to mail servers, over TCP or to a UNIX socket.

Owns: which session a connection speaks with, where it comes from, how long it may take.
Never: chooses the server, keeps a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTCP, IReactorTime, IReactorUNIX

from mta.delivery.connection import ClientConnection, ConnectionFactory, Opened
from mta.delivery.timeouts import ClientTimeouts
from mta.destination import Destination, Transport
from mta.outcome import Deferral
from mta.smtp.client import ClientSession


class IReactorSMTP(IReactorTCP, IReactorUNIX, IReactorTime):
    """What the client needs of a reactor: to connect, and the time."""


@dataclass(frozen=True, slots=True)
class Server:
    """One place to connect to: an IP address and port of the host `name`, or, with port 0, the path of a socket."""

    name: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]:{self.port}" if self.port else self.address


class Connector:
    """
    Connects for one agent.

    `hello` is our name; `bdat` as in `ClientSession`; `source_address` is the local IP address for connections of its
    family, "" for the system's choice; paths of sockets start at `base`. `freed` and `gone` as in `ClientConnection`.
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
    ) -> None:
        self._reactor = reactor
        self._connect_timeout = timeouts.connect
        self._seconds = timeouts.by_stage()
        self._hello = hello
        self._bdat = bdat
        self._source_address = source_address
        self._base = base
        self._freed = freed
        self._gone = gone

    def connect(self, destination: Destination, server: Server) -> Deferred[ClientConnection | Deferral]:
        """A connection that is ready for a transaction, or why there is none."""
        lmtp = destination.next_hop.transport in (Transport.LMTP, Transport.LMTP_UNIX)

        def make(opened: Opened) -> ClientConnection:
            session = ClientSession(self._hello, str(server), lmtp=lmtp, bdat=self._bdat)
            return ClientConnection(
                session, destination.site, self._reactor, self._seconds, opened, self._freed, self._gone
            )

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

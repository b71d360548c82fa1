"""
A connection from a proxy, until the proxy has said whose it is.

Owns: the wait for the PROXY header, and the session behind it.
Never: reads the header itself (`mta/smtp/proxy_header.py`), knows which peers are proxies.
Fails: never towards the reactor. Without a header in time the connection is dropped, and nothing was said.

Log line: ``proxy-refused``, with the listener, the proxy and the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.server.lines import Wire
from mta.server.listener import Listener
from mta.server.protocol import ServerProtocol
from mta.server.sessions import Sessions
from mta.server.via import Via
from mta.smtp.proxy_header import ProxyHeaderError, read_proxy_header


@implementer(IHalfCloseableProtocol)
class ProxiedProtocol(Protocol):
    """
    Takes the header, and hands on all that comes behind it to the session that `begin` makes.

    The session has the transport to itself; where it speaks TLS, that begins with what follows the header.
    """

    _received = b""
    _session: ServerProtocol | None = None
    _began = 0.0
    _ended = False

    def __init__(self, listener: Listener, sessions: Sessions, proxy: str, begin: Callable[[Via], ServerProtocol]):
        self._listener = listener
        self._sessions = sessions
        self._proxy = proxy
        self._begin = begin

    def connectionMade(self) -> None:
        self._began = self._listener.clock.seconds()
        self._sessions.join(self)
        if self._sessions.stopping:
            self._drop()

    def dataReceived(self, data: bytes) -> None:
        if self._session is not None:
            self._session.dataReceived(data)
            return
        if self._ended:
            return
        self._received += data
        try:
            header = read_proxy_header(self._received)
        except ProxyHeaderError as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        rest, self._received = self._received[header.length :], b""
        if header.source is not None:
            via = Via(header.source[0], self._proxy)
        else:
            via = Via(self._proxy, self._proxy, known=header.local)
        self._start(via, rest)

    def _start(self, via: Via, rest: bytes) -> None:
        transport = self.transport
        assert transport is not None
        session = self._session = self._begin(via)
        session.makeConnection(transport)  # type: ignore[no-untyped-call]
        # Only now: without a session that is open a listener that stops would believe that all have ended.
        self._sessions.leave(self)
        if rest:
            session.dataReceived(rest)

    def readConnectionLost(self) -> None:
        if self._session is not None:
            self._session.readConnectionLost()
        else:
            self._gone()
            self._drop()

    def writeConnectionLost(self) -> None:
        if self._session is not None:
            self._session.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._session is not None:
            self._session.connectionLost(reason)
            return
        self._gone()
        self._ended = True
        self._sessions.leave(self)

    def _gone(self) -> None:
        # Who connects and says nothing only looks whether the port is open, as load balancers do every other second.
        if self._received and not self._ended:
            self._note("the connection ended in the middle of the PROXY header")

    # Sessions asks

    def look_at_clock(self, now: float) -> None:
        """Drop the connection where its header is late; `now` in seconds."""
        limit = self._listener.limits.proxy_timeout
        if not self._ended and now - self._began >= limit:
            self._refuse(f"no PROXY header within {limit:g} s")

    def finish(self) -> None:
        """Drop the connection: no message is under way."""
        self._drop()

    def abort(self) -> None:
        """Drop the connection."""
        self._drop()

    def _refuse(self, reason: str) -> None:
        self._note(reason)
        self._drop()

    def _drop(self) -> None:
        self._ended = True
        self._received = b""
        cast("Wire", self.transport).abortConnection()

    def _note(self, reason: str) -> None:
        listener = self._listener
        listener.log("proxy-refused", {"listener": listener.name, "proxy": self._proxy, "reason": reason})

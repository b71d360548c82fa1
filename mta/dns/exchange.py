"""
Carry one query to one server and bring the response back: UDP, and TCP where it was truncated.

Owns: the sockets, the query ids, and the time-out of one try.
Never: chooses a server, asks twice, or judges what a response says.
Fails: `UnansweredError`, with the reason in words; nothing else.

The defence against forged answers (RFC 5452): a source port of the kernel's choice, a random id, the echoed question
and a connected socket. A socket is replaced after a number of queries, so that its port is not worth learning.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred, TimeoutError, gatherResults
from twisted.internet.error import BindError, ConnectError
from twisted.internet.interfaces import IAddress, IConnector, IReactorTCP, IReactorTime, IReactorUDP
from twisted.internet.protocol import ClientFactory, DatagramProtocol
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from mta.dns.question import Question
from mta.dns.wire import Response, query, read_response

Server = tuple[str, int]

# Datagrams for one server spread over this many sockets: each receives a burst in a buffer of its own.
SOCKETS_PER_SERVER = 4
QUERIES_PER_SOCKET = 1000
# More than the size that the query allows (EDNS, 1232): a larger datagram is cut by the kernel and then is damaged.
MAX_DATAGRAM = 4096


class IReactorDNS(IReactorUDP, IReactorTCP, IReactorTime):
    """What the resolver needs of a reactor."""


class UnansweredError(Exception):
    """No response came; the text says why."""


@dataclass(slots=True)
class _Query:
    question: Question
    response: Deferred[Response]


class DatagramSocket(DatagramProtocol):
    """A UDP socket connected to one server, with the queries that wait for their responses."""

    noisy = False

    def __init__(self, server: Server, rng: random.Random) -> None:
        self.sent = 0
        self.closed: Deferred[None] = Deferred()
        self._server = server
        self._rng = rng
        self._waiting: dict[int, _Query] = {}
        self._closing = False

    def connect(self) -> None:
        """Tell the kernel whose datagrams we want. Raises OSError where there is no way to the server."""
        assert self.transport is not None
        self.transport.connect(*self._server)

    def ask(self, question: Question, edns: bool) -> Deferred[Response]:
        """Send a query; it fails with `UnansweredError`. Cancel it to stop waiting. Raises OSError: no network."""
        assert self.transport is not None
        query_id = self._rng.getrandbits(16)
        while query_id in self._waiting:
            query_id = self._rng.getrandbits(16)
        response: Deferred[Response] = Deferred(lambda _: self._settled(query_id))
        self._waiting[query_id] = _Query(question, response)
        self.sent += 1
        try:
            self.transport.write(query(question, query_id, edns=edns), None)
        except OSError:
            self._settled(query_id)
            raise
        return response

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        query_id = int.from_bytes(datagram[:2])
        waiting = self._waiting.get(query_id)
        # The kernel filters by address once the socket is connected, but not what came in before that.
        if waiting is None or addr != self._server:
            return
        response = read_response(datagram, waiting.question, query_id)
        if response is not None:  # a forged or damaged one must not end the wait for the true one
            self._settled(query_id)
            waiting.response.callback(response)

    def connectionRefused(self) -> None:
        """ICMP says that nobody listens there."""
        self._fail_all("no DNS server listens there")

    def stopProtocol(self) -> None:
        """The socket is gone, by our wish or by a fault of the network."""
        self._closing = True
        self._fail_all("the socket was closed")
        self.closed.callback(None)

    @property
    def is_usable(self) -> bool:
        """Whether it may take another query."""
        return not self._closing and self.sent < QUERIES_PER_SOCKET

    def retire(self) -> None:
        """Close it as soon as nothing waits any more."""
        if not self._closing:
            self._closing = True
            self._close_when_idle()

    def close(self) -> Deferred[None]:
        """Close it now: what waits has failed when this returns. The Deferred fires when the socket is gone."""
        self.retire()
        if self._waiting:
            self._fail_all("the resolver was stopped")
            self._close_when_idle()
        return self.closed

    def _close_when_idle(self) -> None:
        if not self._waiting and self.transport is not None:
            self.transport.stopListening()

    def _settled(self, query_id: int) -> None:
        self._waiting.pop(query_id, None)
        if self._closing:
            self._close_when_idle()

    def _fail_all(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.response.errback(Failure(UnansweredError(reason)))


class StreamQuery(Int16StringReceiver):
    """One query and its response by TCP (RFC 7766), then the end."""

    MAX_LENGTH = 65_535

    def __init__(self, question: Question, query_id: int, edns: bool, answered: Callable[[Response | None], None]):
        self._question = question
        self._id = query_id
        self._edns = edns
        self._answered = answered

    def connectionMade(self) -> None:
        assert self.transport is not None
        message = query(self._question, self._id, edns=self._edns)
        self.transport.write(len(message).to_bytes(2) + message)  # in one segment (RFC 7766 8)

    def stringReceived(self, string: bytes) -> None:
        self._answered(read_response(string, self._question, self._id))
        assert self.transport is not None
        self.transport.loseConnection()


class StreamFactory(ClientFactory):
    """Makes the one connection for a query; `response` fires with the response, or fails with `UnansweredError`."""

    noisy = False

    def __init__(self, question: Question, query_id: int, edns: bool) -> None:
        self._arguments = (question, query_id, edns)
        self._connector: IConnector | None = None
        self._done = False
        self.response: Deferred[Response] = Deferred(self._cancelled)

    def buildProtocol(self, _addr: IAddress | None) -> StreamQuery:
        return StreamQuery(*self._arguments, self._answered)

    def startedConnecting(self, connector: IConnector) -> None:
        self._connector = connector

    def clientConnectionFailed(self, _connector: IConnector, reason: Failure) -> None:
        self._fail(f"cannot connect by TCP: {reason.getErrorMessage()}")

    def clientConnectionLost(self, _connector: IConnector, _reason: Failure) -> None:
        self._fail("the server closed the TCP connection without an answer")

    def _answered(self, response: Response | None) -> None:
        if self._done:
            return
        if response is None or response.truncated:
            self._fail("the answer by TCP is damaged or belongs to another question")
            return
        self._done = True
        self.response.callback(response)

    def _fail(self, reason: str) -> None:
        if not self._done:
            self._done = True
            self.response.errback(Failure(UnansweredError(reason)))

    def _cancelled(self, _: Deferred[Response]) -> None:
        self._done = True
        if self._connector is not None:
            self._connector.disconnect()


class Exchange:
    """Asks servers, one query a call. `timeout` is in seconds for a try by UDP, and again for one by TCP."""

    def __init__(self, *, reactor: IReactorDNS, timeout: float, rng: random.Random) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._rng = rng
        self._sockets: dict[Server, list[DatagramSocket]] = {}
        self._open: set[DatagramSocket] = set()  # also those that only wait for their last answers

    async def ask(self, server: Server, question: Question, *, edns: bool = True) -> Response:
        """The response of `server` to `question`; raises `UnansweredError`."""
        try:
            response = await self._in_time(self._socket(server).ask(question, edns))
            if response.truncated:
                response = await self._in_time(self._by_stream(server, question, edns))
        except TimeoutError:
            raise UnansweredError(f"no answer within {self._timeout:g} s") from None
        except (OSError, BindError, ConnectError) as error:
            raise UnansweredError(f"cannot send: {error}") from error
        return response

    async def close(self) -> None:
        """Close all sockets, and wait until they are gone."""
        self._sockets.clear()
        await gatherResults([socket.close() for socket in list(self._open)])

    def _in_time(self, response: Deferred[Response]) -> Deferred[Response]:
        return response.addTimeout(self._timeout, self._reactor)

    def _by_stream(self, server: Server, question: Question, edns: bool) -> Deferred[Response]:
        factory = StreamFactory(question, self._rng.getrandbits(16), edns)
        host, port = server
        self._reactor.connectTCP(host, port, factory, timeout=self._timeout)
        return factory.response

    def _socket(self, server: Server) -> DatagramSocket:
        """One of the sockets for a server, opened where there is room for one more. Raises OSError, BindError."""
        group = self._sockets.setdefault(server, [])
        for socket in [each for each in group if not each.is_usable]:
            group.remove(socket)
            socket.retire()
        if len(group) < SOCKETS_PER_SERVER:
            group.append(self._opened(server))
            return group[-1]
        return self._rng.choice(group)

    def _opened(self, server: Server) -> DatagramSocket:
        socket = DatagramSocket(server, self._rng)
        wildcard = "::" if ipaddress.ip_address(server[0]).version == 6 else ""
        self._reactor.listenUDP(0, socket, interface=wildcard, maxPacketSize=MAX_DATAGRAM)
        self._open.add(socket)
        socket.closed.addCallback(lambda _: self._open.discard(socket))
        try:
            socket.connect()
        except OSError:
            socket.retire()
            raise
        return socket

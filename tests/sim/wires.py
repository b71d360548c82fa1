"""Two machines, and protocols that write down what happens to them."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.sim.clock import SimulatedClock
from mta.sim.machine import Machine
from mta.sim.network import Network

HERE, THERE = "198.18.0.1", "198.18.0.2"
PLACE = (THERE, 25)


class Noting(Protocol):
    """Notes bytes, the end of them, and why a connection was lost, each with its time; made connections greet."""

    def __init__(self, clock: SimulatedClock, greeting: bytes = b"") -> None:
        self.clock = clock
        self.greeting = greeting
        self.data = b""
        self.reads: list[bytes] = []
        self.times: list[float] = []
        self.lost: type[BaseException] | None = None
        self.lost_at = 0.0
        self.ended_reading = False

    def connectionMade(self) -> None:
        if self.greeting:
            self.write(self.greeting)

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.reads.append(data)
        self.times.append(self.clock.seconds())

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost, self.lost_at = reason.type, self.clock.seconds()


@implementer(IHalfCloseableProtocol)
class HalfClosing(Noting):
    """Goes on writing when the other side has ended."""

    def readConnectionLost(self) -> None:
        self.ended_reading = True
        self.write(b"still here\r\n")
        assert self.transport is not None
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Of no interest."""


class Client(ClientFactory):
    """Makes `protocol` for its connection, and notes why there is none."""

    noisy = False

    def __init__(self, protocol: Noting) -> None:
        self.made = protocol
        self.failed: type[BaseException] | None = None
        self.failed_at = 0.0

    def buildProtocol(self, _address: Any) -> Noting:
        return self.made

    def clientConnectionFailed(self, _connector: Any, reason: Failure) -> None:
        self.failed, self.failed_at = reason.type, self.made.clock.seconds()


class Server(ServerFactory):
    """Hands out one protocol."""

    noisy = False

    def __init__(self, protocol: Noting) -> None:
        self.made = protocol

    def buildProtocol(self, _address: Any) -> Noting:
        return self.made


class Pair:
    """A client machine and a server machine on a network, connected at once; run `clock` to let things happen."""

    def __init__(self, server: type[Noting] = Noting, network: Network | None = None, greeting: bytes = b"") -> None:
        self.clock = SimulatedClock(0.0)
        self.network = network or Network()
        self.near = Machine(self.clock, self.network, HERE)
        self.far = Machine(self.clock, self.network, THERE)
        self.client = Noting(self.clock)
        self.server = server(self.clock, greeting)
        self.port = self.far.listenTCP(25, Server(self.server))
        self.factory = Client(self.client)
        self.connector = self.near.connectTCP(THERE, 25, self.factory)

    def run(self, seconds: float = 1.0) -> Pair:
        self.clock.advance(seconds)
        return self

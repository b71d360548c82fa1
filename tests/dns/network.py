"""A network in memory for the resolver: UDP and TCP to servers that answer from tables, on a clock of its own."""

from __future__ import annotations

import random

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IConnector, IListeningPort, IUDPTransport
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.dns.cache import Cache
from mta.dns.exchange import IReactorDNS, Server
from mta.dns.question import Question
from mta.dns.resolver import Resolver
from mta.lookup import Answer
from tests.peers.dns_server import DNSAnswers, Zones

LATENCY = 0.01
FIRST: Server = ("192.0.2.53", 53)
SECOND: Server = ("192.0.2.54", 53)


@implementer(IListeningPort, IUDPTransport)
class MemoryDatagrams:
    """A UDP port: what is written goes to the server it is connected to."""

    def __init__(self, network: MemoryNetwork, protocol: DatagramProtocol, interface: str) -> None:
        self.protocol = protocol
        self.interface = interface
        self.peer: Server | None = None
        self.is_open = True
        self._network = network

    def connect(self, host: str, port: int) -> None:
        if self._network.no_route:
            raise OSError("Network is unreachable")
        self.peer = (host, port)

    def write(self, packet: bytes, addr: tuple[str, int] | None = None) -> None:
        assert self.is_open
        assert self.peer is not None
        assert addr in (None, self.peer)
        if self._network.no_route:
            raise OSError("Network is unreachable")
        self._network.carry(self, self.peer, packet)

    def receive(self, datagram: bytes, addr: Server) -> None:
        if self.is_open:
            self.protocol.datagramReceived(datagram, addr)

    def stopListening(self) -> Deferred[None]:
        assert self.is_open, "closed twice"
        self.is_open = False
        closed: Deferred[None] = Deferred()

        def lost() -> None:
            self.protocol.doStop()
            closed.callback(None)

        self._network.callLater(0, lost)
        return closed

    def __getattr__(self, name: str) -> object:
        raise AttributeError(f"the resolver has no use for {name}")


class MemoryNetwork(Clock):
    """
    `servers` answer by (host, port); others are silent, or refuse where they stand in `refusing`.

    `datagrams` are all UDP ports ever opened, `queries` all that was sent by UDP; `cut` is the length of the pieces in
    which TCP brings an answer; `deaf` servers never accept a connection.
    """

    def __init__(self, servers: dict[Server, Zones]) -> None:
        super().__init__()
        self.servers = {address: DNSAnswers(zones) for address, zones in servers.items()}
        self.refusing: set[Server] = set()
        self.no_route = False
        self.datagrams: list[MemoryDatagrams] = []
        self.connectors: list[MemoryConnector] = []
        self.cut: int = 65_535
        self.deaf: set[Server] = set()
        self.queries: list[bytes] = []

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> MemoryDatagrams:
        assert port == 0, "the source port is the kernel's choice"
        assert maxPacketSize >= 1232
        opened = MemoryDatagrams(self, protocol, interface)
        self.datagrams.append(opened)
        protocol.makeConnection(opened)
        return opened

    def carry(self, sender: MemoryDatagrams, peer: Server, packet: bytes) -> None:
        self.queries.append(packet)
        if peer in self.refusing:
            self.callLater(LATENCY, sender.protocol.connectionRefused)
        for answer in self.servers[peer].answers(packet, "udp") if peer in self.servers else ():
            self.callLater(LATENCY, sender.receive, answer, peer)

    def connectTCP(
        self, host: str, port: int, factory: ClientFactory, timeout: float = 30, bindAddress: object = None
    ) -> IConnector:
        assert timeout > 0
        assert bindAddress is None
        connector = MemoryConnector(self, factory)
        factory.startedConnecting(connector)
        self.connectors.append(connector)
        if (host, port) in self.deaf:
            return connector
        if (host, port) in self.servers:
            self.callLater(LATENCY, connector.connected, self.servers[host, port])
        else:
            self.callLater(LATENCY, connector.failed)
        return connector


@implementer(IConnector)
class MemoryConnector:
    """One TCP connection to a server in memory; its answers come in pieces of `MemoryNetwork.cut` octets."""

    def __init__(self, network: MemoryNetwork, factory: ClientFactory) -> None:
        self._network = network
        self._factory = factory
        self.given_up = False

    def failed(self) -> None:
        if not self.given_up:
            self._factory.clientConnectionFailed(self, Failure(ConnectionRefusedError()))

    def connected(self, server: DNSAnswers) -> None:
        if self.given_up:
            return
        protocol = self._factory.buildProtocol(self.getDestination())
        assert isinstance(protocol, Protocol)
        transport = StringTransport()
        protocol.makeConnection(transport)
        sent = transport.value()
        assert int.from_bytes(sent[:2]) == len(sent) - 2
        wire = b"".join(len(answer).to_bytes(2) + answer for answer in server.answers(sent[2:], "tcp"))
        for start in range(0, len(wire), self._network.cut):
            protocol.dataReceived(wire[start : start + self._network.cut])
        protocol.connectionLost(Failure(ConnectionDone()))
        self._factory.clientConnectionLost(self, Failure(ConnectionDone()))

    def disconnect(self) -> None:
        self.given_up = True

    stopConnecting = disconnect

    def connect(self) -> None:
        raise NotImplementedError

    def getDestination(self) -> IPv4Address:
        return IPv4Address("TCP", *FIRST)


def memory_network(servers: dict[Server, Zones]) -> tuple[MemoryNetwork, IReactorDNS]:
    """The network, and the same as the reactor that it stands for."""
    network = MemoryNetwork(servers)
    reactor: IReactorDNS = network  # type: ignore[assignment]
    return network, reactor


class Desk:
    """A resolver on a network in memory, and someone who waits for its answers by moving the clock."""

    def __init__(
        self,
        servers: dict[Server, Zones],
        *,
        asking: list[Server] | None = None,
        cache_size: int = 100,
        negative_ttl: float = 3600.0,
        trusts_ad: bool = True,
    ) -> None:
        self.network, reactor = memory_network(servers)
        self.resolver = Resolver(
            reactor=reactor,
            servers=asking or list(servers),
            timeout=5.0,
            attempts=2,
            rng=random.Random(7),
            cache=Cache[Question, Answer](self.network, cache_size),
            negative_ttl=negative_ttl,
            trusts_ad=trusts_ad,
        )

    def ask(self, name: str, kind: str) -> Answer:
        """The answer, however long it takes on the clock."""
        return self.wait(self.resolver.lookup(name, kind))

    def wait(self, deferred: Deferred[Answer]) -> Answer:
        answers: list[Answer] = []
        deferred.addCallback(answers.append)
        deadline = self.network.seconds() + 120
        while not answers and self.network.seconds() < deadline:
            self.network.advance(LATENCY)
        assert answers, "no answer within two minutes"
        return answers[0]

    @property
    def asked(self) -> list[tuple[str, str, str]]:
        """What the first server was asked: (name, kind, "udp" or "tcp")."""
        return next(iter(self.network.servers.values())).asked

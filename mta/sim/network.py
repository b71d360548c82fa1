"""
The simulated network: who listens where, and how long a connection takes.

Owns: the ports of all machines, the making of connections, which addresses drop everything.
Never: knows what is said on a connection.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError, ConnectionRefusedError, TimeoutError, UserError
from twisted.internet.interfaces import IConnector, IDelayedCall, IListeningPort, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.sim.wire import Address, Cut, End, connect_ends, uncut

# One way between two machines, in seconds: two data centres of one continent.
LATENCY = 0.01
# The ports that clients come from, as Linux counts them.
_FIRST_PORT, _LAST_PORT = 32768, 60999

Place = tuple[str, int]  # an IP address and a port; the path of a socket has port 0


class Network:
    """
    All places where somebody listens.

    `silent` tells whether an address drops whatever comes, `refusing` whether it refuses connections though somebody
    listens there. `cut` says in which pieces bytes arrive.
    """

    def __init__(
        self,
        silent: Callable[[str], bool] = lambda _address: False,
        refusing: Callable[[str], bool] = lambda _address: False,
        cut: Cut = uncut,
    ) -> None:
        self.silent = silent
        self.refusing = refusing
        self.cut = cut
        self._listening: dict[Place, Port] = {}
        self._next_port = _FIRST_PORT

    def listen(
        self,
        place: Place,
        time: IReactorTime,
        factory: Any,
        accepted: Callable[[End], None],
        latency: float = LATENCY,
    ) -> Port:
        """
        Let `factory` make a protocol for each connection to `place`, and tell `accepted` of our end of it.

        Raises `CannotListenError`.
        """
        if place in self._listening:
            raise CannotListenError(place[0], place[1], OSError(98, "Address already in use"))
        port = self._listening[place] = Port(self, place, time, factory, accepted, latency)
        factory.doStart()
        return port

    def at(self, place: Place) -> Port | None:
        """Who listens there."""
        return self._listening.get(place)

    def closed(self, place: Place) -> None:
        """Nobody listens there any more."""
        self._listening.pop(place, None)

    def client_port(self) -> int:
        """A port for the near end of a connection."""
        self._next_port = self._next_port + 1 if self._next_port < _LAST_PORT else _FIRST_PORT
        return self._next_port


@implementer(IListeningPort)
class Port:
    """A place where a machine listens; `latency` is that of the way to it, in seconds."""

    def __init__(
        self,
        network: Network,
        place: Place,
        time: IReactorTime,
        factory: Any,
        accepted: Callable[[End], None],
        latency: float,
    ) -> None:
        self.place = place
        self.time = time
        self.factory = factory
        self.accepted = accepted
        self.latency = latency
        self._network = network

    def startListening(self) -> None:
        """It listens as soon as it is made."""

    def stopListening(self) -> None:
        self._network.closed(self.place)
        self.factory.doStop()

    def getHost(self) -> Address:
        return address_of(self.place)


@implementer(IConnector)
class Connector:
    """A connection that is being made from `near` to `far`; `opened` gets the near end once there is one."""

    def __init__(
        self,
        network: Network,
        time: IReactorTime,
        near: Place,
        far: Place,
        factory: Any,
        timeout: float,
        opened: Callable[[End], None],
    ) -> None:
        self._network = network
        self._time = time
        self._near = near
        self._far = far
        self._factory = factory
        self._waiting = True
        self._end: End | None = None
        self._seconds = timeout
        self._opened = opened
        self._timeout: IDelayedCall | None = None

    def connect(self) -> None:
        self._factory.doStart()
        self._factory.startedConnecting(self)
        if self._network.silent(self._far[0]):
            self._timeout = self._time.callLater(self._seconds, self._fail, TimeoutError())
            return
        port = self._network.at(self._far)
        self._timeout = self._time.callLater(2 * (port.latency if port else LATENCY), self._answered)

    def stopConnecting(self) -> None:
        self._fail(UserError())

    def disconnect(self) -> None:
        if self._end is not None:
            self._end.loseConnection()
        else:
            self.stopConnecting()

    def getDestination(self) -> Address:
        return address_of(self._far)

    def _fail(self, why: Exception) -> None:
        if self._waiting:
            self._waiting = False
            if self._timeout is not None and self._timeout.active():
                self._timeout.cancel()
            self._factory.clientConnectionFailed(self, Failure(why))
            self._factory.doStop()

    def _answered(self) -> None:
        port = self._network.at(self._far)  # as it is now
        if port is None or self._network.refusing(self._far[0]):
            self._fail(ConnectionRefusedError(111, "Connection refused"))
            return
        self._waiting = False
        here, there = address_of(self._near), address_of(self._far)
        client = self._end = End(self._time, here, there, port.latency, self._network.cut)
        server = End(port.time, there, here, port.latency, self._network.cut)
        connect_ends(client, server)
        client.protocol = self._factory.buildProtocol(there)
        server.protocol = port.factory.buildProtocol(here)
        self._opened(client)
        port.accepted(server)
        # The server's side is there when the client's is: what either of them raises is its own affair.
        for end in (server, client):
            end.time.callLater(0, end.protocol.makeConnection, end)


def address_of(place: Place) -> Address:
    """The place as Twisted names it."""
    host, port = place
    if port == 0:
        return UNIXAddress(host)
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


def pieces(rng: random.Random) -> Cut:
    """Cut what is written at random, often, and most often near its end: there the dot is."""

    def cut(data: bytes) -> Iterable[bytes]:
        if rng.random() < 0.5:
            return (data,)
        at = len(data) - rng.randint(0, min(8, len(data))) if rng.random() < 0.5 else rng.randint(0, len(data))
        return tuple(part for part in (data[:at], data[at:]) if part)

    return cut

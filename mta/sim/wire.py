"""
A connection in memory: two ends, and bytes that take their time between them.

Owns: the order of bytes, flow control both ways, how a connection ends for each side.
Never: chooses who talks to whom (`mta/sim/network.py`).

An end is a transport as TCP's are in Twisted: what is written arrives `latency` seconds later, cut as `cut` says; a
producer is paused while too much is on its way; a half that is closed leaves the other open where its protocol cares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

Address = IPv4Address | IPv6Address | UNIXAddress
Cut = Callable[[bytes], Iterable[bytes]]

# Octets on their way from which a producer is paused: Twisted's own figure for a transport's buffer.
HIGH_WATER = 1 << 16


def uncut(data: bytes) -> Iterable[bytes]:
    """The network delivers what was written in one piece."""
    return (data,)


@implementer(ITransport, IConsumer, IPushProducer)
class End:
    """One end of a connection, the transport of its `protocol`. `time` belongs to the machine that holds it."""

    def __init__(self, time: IReactorTime, here: Address, there: Address, latency: float, cut: Cut) -> None:
        self.time = time
        self.protocol: Any = None
        self.other: End
        self.connected = True
        self.disconnecting = False
        self._here = here
        self._there = there
        self._latency = latency
        self._cut = cut
        # What the other side has written and this one has not read, the end of it included (None).
        self._arrived: list[bytes | None] = []
        self._reading = True
        self._handing_over = False
        # What this side has written in this instant, and what the other has not yet read of it all.
        self._outgoing: list[bytes] = []
        self._sending: IDelayedCall | None = None
        self._unread = 0
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._finished = False  # our FIN is out

    # ITransport, IConsumer: what the protocol calls

    def write(self, data: bytes) -> None:
        if not data or not self.connected or self._finished:
            return
        self._outgoing.append(data)
        self._unread += len(data)
        if self._sending is None:
            self._sending = self.time.callLater(0, self._send)
        if self._streaming and self._unread > HIGH_WATER and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._finish_if_done()

    def abortConnection(self) -> None:
        if self.connected:
            self._outgoing.clear()
            self._tell_other(ConnectionLost("the peer broke the connection off"))
            self._lose(Failure(ConnectionAborted()))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError("another producer is registered")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            self.time.callLater(0, self._pull)

    def unregisterProducer(self) -> None:
        self._producer, self._streaming = None, False
        if self.disconnecting:
            self._finish_if_done()

    def getPeer(self) -> Address:
        return self._there

    def getHost(self) -> Address:
        return self._here

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing here waits to be joined by more."""

    # IPushProducer: the protocol stops and goes on reading

    def pauseProducing(self) -> None:
        self._reading = False

    def resumeProducing(self) -> None:
        self._reading = True
        if self._arrived:
            self.time.callLater(0, self._hand_over)

    def stopProducing(self) -> None:
        self.loseConnection()

    # Sending

    def _send(self) -> None:
        self._sending = None
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        if not data:  # broken off meanwhile
            return
        # By the other side's time: what is on its way arrives, whatever becomes of the sender.
        self.other.time.callLater(self._latency, self.other.arrive, data)
        self._finish_if_done()

    def _pull(self) -> None:
        """A pull producer is asked for more whenever what it gave has left."""
        if self._producer is not None and not self._streaming and self.connected and self._unread < HIGH_WATER:
            self._producer.resumeProducing()

    def _finish_if_done(self) -> None:
        if self.disconnecting and not self._finished and not self._outgoing and self._producer is None:
            self._finished = True
            self.other.time.callLater(self._latency, self.other.arrive, None)
            self.time.callLater(0, self._lose, Failure(ConnectionDone()))

    def was_read(self, octets: int) -> None:
        """The other side has read so much."""
        self._unread -= octets
        if self._producer is None or self._unread > HIGH_WATER // 2:
            return
        if not self._streaming:
            self._pull()
        elif self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()

    # Receiving

    def arrive(self, data: bytes | None) -> None:
        """Bytes have come over the network; None is the end of them."""
        if not self.connected:
            return
        if data is None:
            self._arrived.append(None)
        else:
            self._arrived.extend(self._cut(data))
        self._hand_over()

    def _hand_over(self) -> None:
        if self._handing_over:
            return
        self._handing_over = True
        try:
            while self._arrived and self._reading and self.connected:
                data = self._arrived.pop(0)
                if data is None:
                    self._peer_finished()
                    return
                self.protocol.dataReceived(data)
                self.other.was_read(len(data))
        except Exception:
            # As Twisted's reactor does: a protocol that raises loses its connection.
            self._tell_other(ConnectionLost("the peer's program failed"))
            self._lose(Failure())
        finally:
            self._handing_over = False

    def _peer_finished(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol) and not self.disconnecting:
            self.protocol.readConnectionLost()
        else:
            self._lose(Failure(ConnectionDone()))

    # Ending

    def break_off(self) -> None:
        """The machine on this side is gone: it is told nothing, the other side learns of it."""
        if self.connected:
            self.connected = False
            self._producer = None
            self._tell_other(ConnectionLost("the peer is gone"))

    def _tell_other(self, why: Exception) -> None:
        self.other.time.callLater(self._latency, self.other.lose, why)

    def lose(self, why: Exception) -> None:
        """The connection is no more."""
        self._lose(Failure(why))

    def _lose(self, reason: Failure) -> None:
        if not self.connected:
            return
        self.connected = False
        self._arrived.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(reason)


def connect_ends(client: End, server: End) -> None:
    """Make the two ends of one connection know each other."""
    client.other, server.other = server, client

"""A simulated connection behaves as TCP does below a Twisted transport."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.sim.network import LATENCY, Network, pieces
from mta.sim.wire import HIGH_WATER
from tests.sim.wires import HalfClosing, Pair


@implementer(IPushProducer, IPullProducer)
class Producer:
    """Notes what it is told; a pull producer writes a block each time it is asked, `blocks` in all."""

    def __init__(self, transport: Any, blocks: int = 0, size: int = 10_000) -> None:
        self.transport, self.blocks, self.size = transport, blocks, size
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        if self.blocks:
            self.blocks -= 1
            self.transport.write(b"x" * self.size)
            if not self.blocks:
                self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.told.append("stop")


class WireTests(SynchronousTestCase):
    def test_bytes_take_their_time(self) -> None:
        """What is written in one instant arrives in one piece, one latency later, in order."""
        pair = Pair().run()
        before = pair.clock.seconds()
        for data in (b"a", b"b", b"c"):
            pair.client.write(data)
        pair.run()
        self.assertEqual(([b"abc"], [before + LATENCY]), (pair.server.reads, pair.server.times))

    def test_cuts_lose_nothing(self) -> None:
        """A network that cuts at random places delivers the same bytes in more pieces."""
        pair = Pair(network=Network(cut=pieces(random.Random(2)))).run()
        sent = b"".join(b"line %d\r\n" % number for number in range(50))
        for at in range(0, len(sent), 20):
            pair.client.write(sent[at : at + 20])
            pair.run()
        self.assertEqual(sent, pair.server.data)
        self.assertTrue(len(pair.server.reads) > len(sent) / 20)

    def test_an_orderly_end(self) -> None:
        """What was written before the close arrives before the end of the connection; both sides are told of that."""
        pair = Pair().run()
        pair.client.write(b"QUIT\r\n")
        assert pair.client.transport is not None
        pair.client.transport.loseConnection()
        pair.run()
        pair.client.write(b"too late")
        pair.run()
        self.assertEqual(b"QUIT\r\n", pair.server.data)
        self.assertEqual((ConnectionDone, ConnectionDone), (pair.client.lost, pair.server.lost))

    def test_half_close(self) -> None:
        """A protocol that can go on when the other side has ended is told so, and may still close by itself."""
        pair = Pair(HalfClosing).run()
        assert pair.client.transport is not None
        pair.client.transport.loseConnection()
        pair.run()
        self.assertTrue(pair.server.ended_reading)
        self.assertEqual(ConnectionDone, pair.server.lost)

    def test_abort(self) -> None:
        """What waits is dropped when a connection is broken off, and the other side learns that it was no good end."""
        pair = Pair().run()
        pair.client.write(b"never seen")
        assert pair.client.transport is not None
        pair.client.transport.abortConnection()  # type: ignore[attr-defined]
        pair.run()
        self.assertEqual(b"", pair.server.data)
        self.assertEqual((ConnectionAborted, ConnectionLost), (pair.client.lost, pair.server.lost))

    def test_a_paused_reader(self) -> None:
        """While a protocol does not read nothing is handed over, and nothing is lost."""
        pair = Pair().run()
        assert pair.server.transport is not None
        pair.server.transport.pauseProducing()  # type: ignore[attr-defined]
        pair.client.write(b"one")
        pair.run()
        pair.client.write(b"two")
        self.assertEqual(b"", pair.run().server.data)
        pair.server.transport.resumeProducing()  # type: ignore[attr-defined]
        self.assertEqual(b"onetwo", pair.run().server.data)

    def test_a_producer_is_paused(self) -> None:
        """Who writes more than the other side reads is paused, and goes on when that has read."""
        pair = Pair().run()
        transport: Any = pair.client.transport
        reader: Any = pair.server.transport
        producer = Producer(transport)
        transport.registerProducer(producer, True)
        reader.pauseProducing()
        transport.write(b"x" * HIGH_WATER)
        self.assertEqual([], pair.run() and producer.told)
        transport.write(b"x")
        self.assertEqual(["pause"], producer.told)
        reader.resumeProducing()
        pair.run()
        self.assertEqual(["pause", "resume"], producer.told)

    def test_a_pull_producer(self) -> None:
        """It is asked for the next block when the one before has been read, and the close waits for its last one."""
        pair = Pair().run()
        transport: Any = pair.client.transport
        producer = Producer(transport, blocks=20)
        transport.registerProducer(producer, False)
        transport.loseConnection()
        pair.run()
        self.assertEqual((200_000, 20), (len(pair.server.data), producer.told.count("resume")))
        self.assertEqual(ConnectionDone, pair.server.lost)

    def test_a_lost_connection_stops_its_producer(self) -> None:
        """Once, and one that comes later is stopped at once."""
        pair = Pair().run()
        transport: Any = pair.client.transport
        producer, late = Producer(transport), Producer(transport)
        transport.registerProducer(producer, True)
        pair.far.crash()
        pair.run()
        transport.registerProducer(late, True)
        self.assertEqual((["stop"], ["stop"]), (producer.told, late.told))

    def test_a_protocol_that_raises(self) -> None:
        """It loses its connection, and so does its peer, as with Twisted's reactor."""
        pair = Pair().run()

        def dataReceived(_data: bytes) -> None:
            raise ValueError("a bug")

        self.patch(pair.server, "dataReceived", dataReceived)
        pair.client.write(b"x")
        pair.run()
        self.assertEqual((ConnectionLost, ValueError), (pair.client.lost, pair.server.lost))

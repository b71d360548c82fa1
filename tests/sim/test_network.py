"""Who can be reached on the simulated network, and what trying costs."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError, ConnectionRefusedError, TimeoutError, UserError
from twisted.trial.unittest import SynchronousTestCase

from mta.sim.network import LATENCY, Network, address_of
from tests.sim.wires import THERE, Client, Noting, Pair, Server


class NetworkTests(SynchronousTestCase):
    def test_a_connection(self) -> None:
        """Both sides are there one round trip later, and each knows the other's address."""
        pair = Pair(greeting=b"220 hello\r\n").run()
        client, server = pair.client.transport, pair.server.transport
        assert client is not None
        assert server is not None
        self.assertEqual(b"220 hello\r\n", pair.client.data)
        self.assertAlmostEqual(3 * LATENCY, pair.client.times[0])
        self.assertEqual((client.getHost(), client.getPeer()), (server.getPeer(), server.getHost()))
        self.assertEqual(IPv4Address("TCP", THERE, 25), client.getPeer())

    def test_nobody_listens(self) -> None:
        """Where nobody listens a connection is refused after a round trip; also where one has just stopped."""
        pair = Pair()
        elsewhere = Client(Noting(pair.clock))
        pair.near.connectTCP(THERE, 26, elsewhere)
        pair.port.stopListening()
        pair.run()
        self.assertEqual((ConnectionRefusedError, 2 * LATENCY), (elsewhere.failed, elsewhere.failed_at))
        self.assertEqual(ConnectionRefusedError, pair.factory.failed)

    def test_silent_and_refusing_addresses(self) -> None:
        """A silent address costs the whole timeout, a refusing one a round trip, though somebody listens at both."""
        silent = Pair(network=Network(silent=lambda address: address == THERE)).run(29)
        self.assertIsNone(silent.factory.failed)
        silent.run(2)
        self.assertEqual((TimeoutError, 30.0), (silent.factory.failed, silent.factory.failed_at))
        refusing = Pair(network=Network(refusing=lambda address: address == THERE)).run()
        self.assertEqual(ConnectionRefusedError, refusing.factory.failed)

    def test_giving_up(self) -> None:
        """An attempt that is given up fails once, and no connection comes of it."""
        pair = Pair()
        pair.connector.stopConnecting()
        self.assertEqual(UserError, pair.factory.failed)
        pair.run()
        self.assertIsNone(pair.client.transport)
        self.assertIsNone(pair.server.transport)

    def test_a_place_is_taken_once(self) -> None:
        """A second program can't listen at the same place, until the first one has stopped."""
        pair = Pair()
        other = Server(Noting(pair.clock))
        self.assertRaises(CannotListenError, pair.far.listenTCP, 25, other)
        pair.port.stopListening()
        pair.far.listenTCP(25, other)

    def test_sockets(self) -> None:
        """A UNIX socket is a place, too."""
        pair = Pair()
        server, client = Noting(pair.clock, b"hello"), Noting(pair.clock)
        pair.near.listenUNIX("/run/lmtp", Server(server))
        pair.near.connectUNIX("/run/lmtp", Client(client))
        self.assertEqual(b"hello", pair.run() and client.data)

    def test_addresses(self) -> None:
        """Places are named as Twisted names them."""
        self.assertEqual(UNIXAddress("/run/x"), address_of(("/run/x", 0)))
        self.assertEqual(IPv6Address("TCP", "2001:db8::1", 25), address_of(("2001:db8::1", 25)))

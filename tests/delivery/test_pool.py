"""Idle connections: which one is given, and how long they are kept."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.connection import ClientConnection
from mta.delivery.pool import ConnectionPool
from mta.smtp.client import ClientSession
from tests.delivery.material import LIMITS, TIMEOUTS
from tests.smtp_client.dialogue import GREETING, HOST, PIPELINES


class PoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.pool = ConnectionPool(self.clock, TIMEOUTS, LIMITS)
        self.transports: dict[ClientConnection, StringTransport] = {}

    def connect(self, site: str = "a.test") -> ClientConnection:
        session = ClientSession("client.test", HOST)
        connection = ClientConnection(
            session, site, self.clock, TIMEOUTS.by_stage(), Deferred(), self.pool.give, self.pool.forget
        )
        self.transports[connection] = StringTransport()
        connection.makeConnection(self.transports[connection])
        connection.dataReceived(GREETING)
        connection.dataReceived(PIPELINES)
        return connection

    def has_quit(self, connection: ClientConnection) -> bool:
        sent: bytes = self.transports[connection].value()
        return sent.endswith(b"QUIT\r\n")

    def test_by_site(self) -> None:
        """A connection is given for its own site alone, and once."""
        first, second = self.connect("a.test"), self.connect("b.test")
        for connection in (first, second):
            self.pool.give(connection)
        self.assertIsNone(self.pool.take("c.test"))
        self.assertIs(second, self.pool.take("b.test"))
        self.assertIsNone(self.pool.take("b.test"))
        self.assertIs(first, self.pool.take("a.test"))
        self.assertEqual(0, len(self.pool))

    def test_youngest_first(self) -> None:
        """The connection used last is used next, so that those that are not needed leave."""
        first, second = self.connect(), self.connect()
        self.pool.give(first)
        self.clock.advance(3)
        self.pool.give(second)
        self.assertIs(second, self.pool.take("a.test"))
        self.pool.give(second)
        self.clock.advance(2)
        self.assertEqual((True, False), (self.has_quit(first), self.has_quit(second)))
        self.clock.advance(3)
        self.assertTrue(self.has_quit(second))

    def test_lifetime(self) -> None:
        """A connection that has lived long enough takes leave, when it is given back and when it is asked for."""
        connection = self.connect()
        self.clock.advance(TIMEOUTS.lifetime - 1)
        self.pool.give(connection)
        self.assertFalse(self.has_quit(connection))
        self.clock.advance(1)
        self.assertIsNone(self.pool.take("a.test"))
        self.assertTrue(self.has_quit(connection))
        old = self.connect()
        self.clock.advance(TIMEOUTS.lifetime)
        self.pool.give(old)
        self.assertTrue(self.has_quit(old))

    def test_closing_connection_is_not_given(self) -> None:
        """A server that says 421 to an idle connection closes it: nothing is sent over it, though it is still open."""
        older, younger = self.connect(), self.connect()
        self.pool.give(older)
        self.pool.give(younger)
        younger.dataReceived(b"421 4.4.2 idle too long\r\n")
        self.assertIs(older, self.pool.take("a.test"))

    def test_forgotten(self) -> None:
        """A lost connection is not given."""
        connection = self.connect()
        self.pool.give(connection)
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.pool.take("a.test"))

    def test_one_timer(self) -> None:
        """Idle connections share a timer, and none is left when they are gone."""
        connections = [self.connect() for _ in range(10)]
        self.clock.advance(1000)  # their own timers have run out by now
        self.assertEqual([], self.clock.getDelayedCalls())
        for connection in connections:
            connection.since = self.clock.seconds()
            self.pool.give(connection)
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        self.clock.advance(TIMEOUTS.idle)
        for connection in connections:
            self.assertTrue(self.has_quit(connection))
            connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stop(self) -> None:
        """Stopping waits for the idle connections to go; one given back later leaves at once."""
        idle, busy = self.connect(), self.connect()
        self.pool.give(idle)
        stopped = self.pool.stop()
        self.assertTrue(self.has_quit(idle))
        self.assertNoResult(stopped)
        idle.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(stopped)
        self.pool.give(busy)
        self.assertTrue(self.has_quit(busy))
        self.assertIsNone(self.pool.take("a.test"))

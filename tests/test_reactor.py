"""The reactor that sends before it waits, on real sockets of this machine."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from typing import Any

from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.reactor import EagerReactor

LARGE = b"x" * (8 << 20)


class Talker(Protocol):
    """Keeps what it hears; says `words` when it is connected."""

    words = b""
    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Failure | None = None

    def connectionMade(self) -> None:
        if self.words:
            self.transport.write(self.words)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class ChoiceTests(SynchronousTestCase):
    def test_entry_points_leave_the_choice(self) -> None:
        """Nothing that the daemon or a worker imports makes a reactor before ours is installed."""
        code = "import sys, {0}; sys.exit('twisted.internet.reactor' in sys.modules)"
        for module in ("mta.tap", "mta.daemon.worker"):
            self.assertEqual(0, subprocess.run([sys.executable, "-c", code.format(module)], check=False).returncode)


class EagerReactorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = EagerReactor()
        self.addCleanup(self.close)
        self.made: list[Talker] = []

    def close(self) -> None:
        for each in self.reactor.removeAll():
            each.connectionLost(Failure(ConnectionError()))
        self.turn()

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0.01)

    def until(self, condition: Any) -> None:
        for _ in range(5000):
            if condition():
                return
            self.turn()
        self.fail("it does not come about")

    def server(self, words: bytes = b"") -> int:
        """A server that says `words`; its port."""

        class Saying(Talker):
            pass

        Saying.words = words

        class Making(Factory):
            noisy = False

            def buildProtocol(_self, _addr: object) -> Talker:  # noqa: N805
                self.made.append(Saying())
                return self.made[-1]

        port = self.reactor.listenTCP(0, Making(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def client(self, port: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", port), 10)
        client.settimeout(10)
        self.addCleanup(client.close)
        return client

    def test_small_write_asks_the_kernel_for_nothing(self) -> None:
        """What the socket takes at once is sent without a word to epoll."""
        client = self.client(self.server())
        self.until(lambda: self.made)
        (served,) = self.made
        served.transport.write(b"hello")
        self.assertEqual([served.transport], self.reactor.getWriters())
        self.turn()
        self.assertEqual(b"hello", client.recv(100))
        self.assertEqual(set(), self.reactor._writes)
        self.assertEqual([], self.reactor.getWriters())

    def test_large_write_arrives_whole(self) -> None:
        """What the socket does not take at once is polled for, and then no longer."""
        client = self.client(self.server(LARGE))
        self.until(lambda: self.made)
        self.until(lambda: self.reactor._writes)
        client.setblocking(False)
        heard = bytearray()

        def all_heard() -> bool:
            with contextlib.suppress(BlockingIOError):
                heard.extend(client.recv(1 << 20))
            return len(heard) == len(LARGE)

        self.until(all_heard)
        self.assertEqual(LARGE, bytes(heard))
        self.turn(3)
        self.assertEqual([], self.reactor.getWriters())

    def test_calls_that_sending_asks_for(self) -> None:
        """What a producer has called later while its descriptor sends is called in time, however long the wait was."""
        self.client(self.server())
        self.until(lambda: self.made)
        (served,) = self.made
        called: list[float] = []
        later = self.reactor.callLater

        @implementer(IPullProducer)
        class Producing:
            asked = 0

            def resumeProducing(self) -> None:
                self.asked += 1
                if self.asked == 1:
                    served.transport.write(b"x")
                else:  # the first is sent
                    served.transport.unregisterProducer()
                    later(0.01, lambda: called.append(time.monotonic()))

            def stopProducing(self) -> None:
                pass

        served.transport.registerProducer(Producing(), False)
        self.reactor.runUntilCurrent()
        began = time.monotonic()
        self.reactor.doIteration(5)
        self.assertLess(time.monotonic() - began, 4)
        self.until(lambda: called)

    def test_last_words(self) -> None:
        """What is written right before the connection is closed still arrives, and both sides learn of the end."""
        client = self.client(self.server())
        self.until(lambda: self.made)
        (served,) = self.made
        served.transport.write(b"bye")
        served.transport.loseConnection()
        self.until(lambda: served.lost is not None)
        self.assertEqual(b"bye", client.recv(100))
        self.assertEqual(b"", client.recv(100))
        self.assertEqual([], self.reactor.getWriters())

    def test_broken_off_with_something_to_send(self) -> None:
        """A connection that is aborted before its turn comes is not written to any more."""
        self.client(self.server())
        self.until(lambda: self.made)
        (served,) = self.made
        served.transport.write(b"never sent")
        served.transport.abortConnection()
        self.until(lambda: served.lost is not None)
        self.assertEqual([], self.reactor.getWriters())

    def test_fault_ends_one_connection(self) -> None:
        """What a protocol raises is logged and costs its connection; the others of the same turn are served."""

        def fail(data: bytes) -> None:
            raise RuntimeError(data)

        clients = [self.client(self.server()) for _ in range(3)]
        self.until(lambda: len(self.made) == 3)
        self.made[1].dataReceived = fail  # type: ignore[method-assign]
        for client in clients:
            client.sendall(b"hello")
        self.until(lambda: self.made[1].lost is not None)
        self.until(lambda: self.made[0].heard == self.made[2].heard == b"hello")
        self.assertEqual([None, None], [self.made[0].lost, self.made[2].lost])
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_connecting_waits_in_the_kernel(self) -> None:
        """A connection that takes time to be made is polled for: the loop sleeps, it does not ask again and again."""
        full = socket.socket()
        self.addCleanup(full.close)
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for _ in range(3):  # the queue is full from here on: a connection hangs
            waiting = socket.socket()
            self.addCleanup(waiting.close)
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))

        class Client(Factory):
            noisy = False
            protocol = Talker

            def startedConnecting(self, connector: object) -> None: ...
            def clientConnectionFailed(self, connector: object, reason: object) -> None: ...

        self.reactor.connectTCP("127.0.0.1", port, Client(), 60)
        self.turn(5)
        self.assertEqual(1, len(self.reactor._writes))
        self.assertEqual({}, self.reactor._fresh)

    def test_everything_is_removed(self) -> None:
        """Who has not written yet is among those that are removed at the end."""
        self.client(self.server())
        self.until(lambda: self.made)
        (served,) = self.made
        served.transport.write(b"hello")
        self.assertIn(served.transport, self.reactor.removeAll())
        self.assertEqual([], self.reactor.getWriters())
        served.transport.connectionLost(Failure(ConnectionError()))

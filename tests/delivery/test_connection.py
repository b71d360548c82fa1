"""The shell around a session: writes, timers, the flow of content."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.connection import ClientConnection, Opened
from mta.delivery.content import PIECE
from mta.entry import Mark
from mta.envelope import Envelope, Recipient
from mta.outcome import Deferral, Scope
from mta.smtp.client import ClientSession
from mta.smtp.client_events import TransactionDone
from mta.smtp.transaction import Transaction
from mta.spool import SpoolError
from tests.delivery.material import ONE, SENDER, TIMEOUTS, Content, marked
from tests.smtp_client.dialogue import HOST, brief

OK = b"250 2.0.0 Ok\r\n"
GO = b"354 go\r\n"


class Transport(StringTransport):
    """Counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def ask(self) -> None:
        """Ask the producer for more, as a transport does that has sent everything."""
        assert self.producer is not None
        self.producer.resumeProducing()


def brief_reason(done: TransactionDone) -> str:
    outcome = done.outcomes[ONE]
    assert isinstance(outcome, Deferral)
    return outcome.reason


class ConnectionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport()
        self.opened: Opened = Deferred()
        self.freed: list[ClientConnection] = []
        self.gone: list[ClientConnection] = []
        self.connection = ClientConnection(
            ClientSession("client.test", HOST),
            "to.test",
            self.clock,
            TIMEOUTS.by_stage(),
            self.opened,
            self.freed.append,
            self.gone.append,
        )
        self.connection.makeConnection(self.transport)

    def greet(self, offer: bytes = b"PIPELINING") -> None:
        self.hear(b"220 x\r\n", b"250-x\r\n250 " + offer + b"\r\n")
        self.assertIs(self.connection, self.successResultOf(self.opened))
        self.transport.writes.clear()

    def hear(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.dataReceived(piece)

    def transact(self, content: Content, mark: Mark = marked, *, early: bool = False) -> Deferred[TransactionDone]:
        transaction = Transaction(Envelope(SENDER, (Recipient(ONE),)), content.size)
        return self.connection.transact(transaction, content, mark, early=early)

    def lose(self, error: Exception) -> None:
        self.connection.connectionLost(Failure(error))


class WriteTests(ConnectionCase):
    def test_two_writes_a_message(self) -> None:
        """A small message takes two writes: the envelope, and the content with its final dot."""
        self.greet()
        self.transact(Content(b"text\r\n"))
        self.hear(OK, OK, GO)
        self.assertEqual(2, len(self.transport.writes))
        self.assertEqual(b"text\r\n.\r\n", self.transport.writes[1])

    def test_pull(self) -> None:
        """Large content is read only as fast as the transport sends it: a piece for each time it asks."""
        self.greet()
        content = Content(b"x" * (3 * PIECE), 2 * PIECE)
        self.transact(content)
        self.hear(OK, OK, GO)
        self.assertFalse(self.transport.streaming)
        self.transport.writes.clear()
        for writes, chunks in ((1, 1), (2, 1), (3, 2)):
            self.transport.ask()
            self.assertEqual((writes, chunks), (len(self.transport.writes), len(content.read)))
        self.transport.ask()
        self.assertIsNone(self.transport.producer)
        self.assertEqual(b"\r\n.\r\n", self.transport.writes[-1])
        self.assertEqual(PIECE, max(len(write) for write in self.transport.writes))

    def test_one_read_at_a_time(self) -> None:
        """A transport that asks again while the spool is being read starts no second read."""
        self.greet()
        content = Content(b"x" * 10, 5)
        content.held = []
        self.transact(content)
        self.hear(OK, OK, GO)
        for _ in range(3):
            self.transport.ask()
        self.assertEqual([0], content.read)
        content.release()
        self.transport.ask()
        self.assertEqual([0, 1], content.read)

    def test_early_refusal_stops_the_content(self) -> None:
        """A refusal in the middle of the content stops reading and sending, and closes."""
        self.greet()
        content = Content(b"x" * 10 * PIECE, 2 * PIECE)
        done = self.transact(content)
        self.hear(OK, OK, GO)
        producer = self.transport.producer
        assert producer is not None
        self.transport.ask()
        self.hear(b"552 5.3.4 too big\r\n")
        self.assertEqual("failure 5.3.4", brief(self.successResultOf(done).outcomes[ONE]))
        self.assertIsNone(self.transport.producer)
        self.assertTrue(self.transport.disconnecting)
        writes = len(self.transport.writes)
        producer.resumeProducing()
        self.assertEqual(writes, len(self.transport.writes))

    def test_spool_trouble(self) -> None:
        """Content that can't be read in the middle ends the connection without a final dot."""
        self.greet()
        done = self.transact(Content(b"x" * 10, 5, broken=1))
        self.hear(OK, OK, GO)
        for _ in range(2):
            self.transport.ask()
        outcome = self.successResultOf(done).outcomes[ONE]
        assert isinstance(outcome, Deferral)
        self.assertIs(Scope.OURSELVES, outcome.scope)
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(b"".join(self.transport.writes).endswith(b".\r\n"))


class MarkTests(ConnectionCase):
    """The end of the content waits until the spool knows that it is sent."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[Sequence[Address], str]] = []
        self.marks: list[Deferred[None]] = []

    def mark(self, addresses: Sequence[Address], host: str) -> Deferred[None]:
        self.asked.append((addresses, host))
        self.marks.append(Deferred())
        return self.marks[-1]

    def invited(self, content: Content) -> Deferred[TransactionDone]:
        self.greet()
        done = self.transact(content, self.mark)
        self.assertEqual([], self.marks)
        self.hear(OK, OK, GO)
        self.transport.writes.clear()
        return done

    def test_small(self) -> None:
        """Small content goes out in one write with its dot, and not before the mark stands."""
        done = self.invited(Content(b"text\r\n"))
        self.assertEqual([((ONE,), HOST)], self.asked)
        self.assertEqual([], self.transport.writes)
        self.marks[0].callback(None)
        self.assertEqual([b"text\r\n.\r\n"], self.transport.writes)
        self.hear(OK)
        self.assertEqual("delivered", brief(self.successResultOf(done).outcomes[ONE]))

    def test_large(self) -> None:
        """Large content is on its way meanwhile; only the dot waits, and goes out when the mark stands."""
        for end_first in (True, False):
            self.setUp()
            done = self.invited(Content(b"x" * (2 * PIECE), 2 * PIECE))
            for _ in range(2):
                self.transport.ask()
            if end_first:
                self.transport.ask()
                self.assertIsNone(self.transport.producer)
            self.assertEqual(2 * PIECE, len(b"".join(self.transport.writes)))
            self.assertNoResult(done)
            self.marks[0].callback(None)
            if not end_first:
                self.transport.ask()
            self.assertEqual(b"\r\n.\r\n", self.transport.writes[-1])
            self.hear(OK)
            self.assertEqual("delivered", brief(self.successResultOf(done).outcomes[ONE]))

    def test_no_mark(self) -> None:
        """Where the spool can't take the mark the end is never sent: a deferral of ours, and nobody else is asked."""
        for content in (Content(b"text\r\n"), Content(b"x" * 9, 9)):
            self.setUp()
            done = self.invited(content)
            if self.transport.producer is not None:
                self.transport.ask()
                self.transport.ask()
            self.marks[0].errback(SpoolError("spool: disk full"))
            result = self.successResultOf(done)
            outcome = result.outcomes[ONE]
            assert isinstance(outcome, Deferral)
            self.assertEqual((Scope.OURSELVES, False, ()), (outcome.scope, outcome.in_doubt, result.undecided))
            self.assertIn("disk full", outcome.reason)
            self.assertNotIn(b".\r\n", b"".join(self.transport.writes))
            self.assertTrue(self.transport.disconnecting)

    def test_lost_while_it_waits(self) -> None:
        """A connection lost before the mark stands leaves no doubt, and a mark that comes late sends nothing."""
        for fails in (False, True):
            self.setUp()
            done = self.invited(Content(b"text\r\n"))
            self.lose(ConnectionDone())
            result = self.successResultOf(done)
            self.assertEqual((ONE,), result.undecided)
            if fails:
                self.marks[0].errback(SpoolError("spool: disk full"))
            else:
                self.marks[0].callback(None)
            self.assertEqual([], self.transport.writes)

    def test_late_mark_of_another_transaction(self) -> None:
        """A mark opens the end of its own transaction alone, though the next one has the same content."""
        self.connection = ClientConnection(
            ClientSession("client.test", HOST, bdat=True),
            "to.test",
            self.clock,
            TIMEOUTS.by_stage(),
            self.opened,
            self.freed.append,
            self.gone.append,
        )
        self.connection.makeConnection(self.transport)
        self.hear(b"220 x\r\n", b"250-x\r\n250-CHUNKING\r\n250 PIPELINING\r\n")
        content = Content(b"x" * 9, 5)
        first = self.transact(content, self.mark)
        self.hear(OK, OK)
        self.transport.ask()
        self.hear(b"452 4.3.1 full\r\n", OK)
        self.successResultOf(first)
        self.transact(content, self.mark)
        self.hear(OK, OK)
        for _ in range(2):
            self.transport.ask()
        self.marks[0].callback(None)
        self.assertNotIn(b"LAST", b"".join(self.transport.writes))
        self.marks[1].callback(None)
        self.assertIn(b"LAST", self.transport.writes[-1])

    def begun_early(self, content: Content, offer: bytes = b"PIPELINING") -> Deferred[TransactionDone]:
        self.greet(offer)
        return self.transact(content, self.mark, early=True)

    def test_early(self) -> None:
        """Asked for with the commands, the mark and the invitation may come in either order: both are waited for."""
        for mark_first in (True, False):
            self.setUp()
            done = self.begun_early(Content(b"text\r\n"))
            self.assertEqual([([ONE], HOST)], self.asked)
            self.transport.writes.clear()
            steps = [lambda: self.marks[0].callback(None), lambda: self.hear(OK, OK, GO)]
            for step in steps if mark_first else reversed(steps):
                self.assertEqual([], self.transport.writes)
                step()
            self.assertEqual([b"text\r\n.\r\n"], self.transport.writes)
            self.assertEqual(1, len(self.marks))
            self.hear(OK)
            self.assertEqual("delivered", brief(self.successResultOf(done).outcomes[ONE]))

    def test_early_mark_at_once(self) -> None:
        """A mark that stands before it is waited for sends the content once, when it is invited."""
        self.greet()
        self.transact(Content(b"text\r\n"), early=True)
        self.transport.writes.clear()
        self.hear(OK, OK, GO)
        self.assertEqual([b"text\r\n.\r\n"], self.transport.writes)

    def test_early_only_where_it_saves_time(self) -> None:
        """Large content, and a server without PIPELINING, get their mark with the invitation, for who was accepted."""
        for content, offer in ((Content(b"x" * 9, 5), b"PIPELINING"), (Content(b"text\r\n"), b"HELP")):
            self.setUp()
            self.begun_early(content, offer)
            self.hear(OK)
            self.assertEqual([], self.marks)
            self.hear(OK)
            self.hear(GO)
            self.assertEqual([((ONE,), HOST)], self.asked)

    def test_early_mark_that_fails(self) -> None:
        """Where the spool can't take an early mark the attempt ends, before its content or before it is invited."""
        for invited in (True, False):
            self.setUp()
            done = self.begun_early(Content(b"text\r\n"))
            self.transport.writes.clear()
            if invited:
                self.hear(OK, OK, GO)
            self.marks[0].errback(SpoolError("spool: disk full"))
            outcome = self.successResultOf(done).outcomes[ONE]
            assert isinstance(outcome, Deferral)
            self.assertEqual((Scope.OURSELVES, False), (outcome.scope, outcome.in_doubt))
            self.assertEqual([], self.transport.writes)
            self.assertTrue(self.transport.disconnecting)

    def test_early_mark_of_nobody(self) -> None:
        """A recipient that is refused has that answer and no doubt, and the mark that comes then sends nothing."""
        for fails in (False, True):
            self.setUp()
            done = self.begun_early(Content(b"text\r\n"))
            self.hear(OK, b"550 5.1.1 nobody\r\n", b"503 5.5.1 no recipients\r\n", OK)
            self.assertEqual("failure 5.1.1", brief(self.successResultOf(done).outcomes[ONE]))
            self.transport.writes.clear()
            if fails:
                self.marks[0].errback(SpoolError("spool: disk full"))
            else:
                self.marks[0].callback(None)
            self.assertEqual([], self.transport.writes)
            second = self.transact(Content(b"more\r\n"), self.mark, early=True)
            self.transport.writes.clear()
            self.hear(OK, OK, GO)
            self.assertEqual([], self.transport.writes)
            self.marks[1].callback(None)
            self.assertEqual([b"more\r\n.\r\n"], self.transport.writes)
            self.assertNoResult(second)

    def test_slow_behind_the_dot(self) -> None:
        """A server that takes too long behind the dot leaves a doubt; before it, none (RFC 1047)."""
        for stands, seconds in ((False, TIMEOUTS.block), (True, TIMEOUTS.final_dot)):
            self.setUp()
            done = self.invited(Content(b"text\r\n"))
            if stands:
                self.marks[0].callback(None)
            self.clock.advance(seconds - 1)
            self.assertNoResult(done)
            self.clock.advance(1)
            outcome = self.successResultOf(done).outcomes[ONE]
            assert isinstance(outcome, Deferral)
            self.assertEqual(stands, outcome.in_doubt)
            self.assertTrue(self.transport.disconnected)

    def test_our_own_bug_behind_the_dot(self) -> None:
        """An exception of ours that costs the connection behind the dot is our fault, and leaves the doubt."""
        done = self.invited(Content(b"text\r\n"))
        self.marks[0].callback(None)
        self.lose(KeyError("x"))
        outcome = self.successResultOf(done).outcomes[ONE]
        assert isinstance(outcome, Deferral)
        self.assertEqual((Scope.OURSELVES, True), (outcome.scope, outcome.in_doubt))


class TimeTests(ConnectionCase):
    def test_drip(self) -> None:
        """A server that sends an octet now and then does not gain time: only whole replies do."""
        self.greet()
        done = self.transact(Content())
        for octet in (b"2", b"5", b"0", b" ", b"o"):
            self.hear(octet)
            self.assertNoResult(done)
            self.clock.advance(TIMEOUTS.mail / 5)
        self.assertEqual("deferral 4.4.2 message", brief(self.successResultOf(done).outcomes[ONE]))

    def test_a_reply_gains_time(self) -> None:
        """Each reply of a pipelined group starts the time of the next one."""
        self.greet()
        done = self.transact(Content())
        for _ in range(2):
            self.clock.advance(TIMEOUTS.mail - 1)
            self.hear(OK)
        self.clock.advance(TIMEOUTS.data - 1)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.assertIn("DATA", brief_reason(self.successResultOf(done)))

    def test_drip_within_a_line(self) -> None:
        """The same for a reply that would never end."""
        self.greet()
        done = self.transact(Content())
        self.hear(b"250-")
        for _ in range(100):
            if not done.called:
                self.clock.advance(TIMEOUTS.mail / 50)
                self.hear(b"x")
        self.assertEqual("deferral 4.4.2 message", brief(self.successResultOf(done).outcomes[ONE]))
        self.assertTrue(self.transport.disconnected)

    def test_each_piece_has_its_time(self) -> None:
        """A slow peer that keeps taking content is borne with; one that stops taking it is not."""
        self.greet()
        done = self.transact(Content(b"x" * 20 * PIECE, 20 * PIECE))
        self.hear(OK, OK, GO)
        for _ in range(10):
            self.transport.ask()
            self.clock.advance(TIMEOUTS.block - 1)
        self.assertNoResult(done)
        self.clock.advance(2)
        self.assertEqual("deferral 4.4.2 message", brief(self.successResultOf(done).outcomes[ONE]))

    def test_one_timer(self) -> None:
        """A connection has one timer, however many messages it carries."""
        self.greet()
        set_at_first = self.clock.getDelayedCalls()
        for _ in range(50):
            self.transact(Content())
            self.hear(OK + OK + GO)
            self.hear(OK)
        self.assertEqual(1, len(set_at_first))
        self.assertIs(set_at_first[0], self.clock.getDelayedCalls()[0])

    def test_no_timeout_while_ready(self) -> None:
        """A connection that is kept has no timeout of its own: the pool watches it."""
        self.greet()
        self.clock.advance(10_000)
        self.assertFalse(self.transport.disconnecting)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stuck_close(self) -> None:
        """A peer that takes nothing more can't keep a closing connection open."""
        self.greet()
        self.hear(b"unasked\r\n")
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(TIMEOUTS.quit)
        self.assertTrue(self.transport.disconnected)


class EndTests(ConnectionCase):
    def test_lost(self) -> None:
        """A lost connection settles what is open, tells the pool, and leaves no timer."""
        for error, word in ((ConnectionDone(), "closed"), (ConnectionLost(), "broke"), (ConnectionAborted(), "broke")):
            self.setUp()
            self.greet()
            done = self.transact(Content())
            self.lose(error)
            outcome = self.successResultOf(done).outcomes[ONE]
            assert isinstance(outcome, Deferral)
            self.assertIn(word, outcome.reason)
            self.assertEqual([self.connection], self.gone)
            self.assertEqual([], self.clock.getDelayedCalls())

    def test_our_own_bug(self) -> None:
        """An exception of ours that costs the connection is our fault, and nobody is asked elsewhere."""
        self.greet()
        done = self.transact(Content())
        self.lose(KeyError("x"))
        result = self.successResultOf(done)
        self.assertEqual("deferral 4.3.0 ourselves", brief(result.outcomes[ONE]))
        self.assertEqual((), result.undecided)

    def test_lost_before_ready(self) -> None:
        """A connection lost before it was ready says why it will not be."""
        self.lose(ConnectionDone())
        outcome = self.successResultOf(self.opened)
        assert isinstance(outcome, Deferral)
        self.assertIs(Scope.SITE, outcome.scope)

    def test_freed(self) -> None:
        """A connection is given back before its outcome is told, and only when it can be used again."""
        self.greet()
        done = self.transact(Content())
        done.addCallback(lambda _: self.assertEqual([self.connection], self.freed))
        self.hear(OK + OK + GO, OK)
        self.successResultOf(done)
        done = self.transact(Content())
        self.hear(OK + OK + GO, OK + OK)
        self.successResultOf(done)
        self.assertEqual(1, len(self.freed))

    def test_abort(self) -> None:
        """An aborted connection tells nobody but the pool, and sends nothing more."""
        self.greet()
        done = self.transact(Content())
        writes = len(self.transport.writes)
        self.connection.abort()
        self.hear(OK + OK + GO)
        self.lose(ConnectionAborted())
        self.assertNoResult(done)
        self.assertEqual(writes, len(self.transport.writes))
        self.assertEqual([self.connection], self.gone)
        self.assertEqual([], self.clock.getDelayedCalls())

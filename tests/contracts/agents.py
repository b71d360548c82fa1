"""
What every `IDeliveryAgent` promises.

`AgentContract` is mixed into a test case that makes an agent which delivers, and a destination for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from mta.address import Address
from mta.destination import Destination
from mta.envelope import Body
from mta.interfaces import IDeliveryAgent
from mta.outcome import Deferral, Delivered, Failure, Outcome, Scope
from tests.delivery.material import ONE, THREE, TWO, Content, delivery

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Base
else:
    Base = object


class AgentContract(Base):
    """Needs `agent` and `destination`; `settle` lets everything that is under way come to its end."""

    agent: IDeliveryAgent
    destination: Destination
    reads_content = True

    def settle(self) -> None:
        """For agents that need a network or a clock."""

    def result(self, waiting: Deferred[Mapping[Address, Outcome]]) -> Mapping[Address, Outcome]:
        self.settle()
        return self.successResultOf(waiting)

    def test_interface(self) -> None:
        """The agent has the methods of the interface."""
        verifyObject(IDeliveryAgent, self.agent)

    def test_one_outcome_each(self) -> None:
        """There is one outcome for each recipient, by address, and for nobody else."""
        for recipients in ((ONE,), (ONE, TWO, THREE)):
            outcomes = self.result(self.agent.deliver(delivery(self.destination, recipients)))
            self.assertEqual(set(recipients), set(outcomes))
            self.assertTrue(all(isinstance(outcome, Delivered) for outcome in outcomes.values()), outcomes)

    def test_null_sender(self) -> None:
        """A bounce is delivered as any other message."""
        outcomes = self.result(self.agent.deliver(delivery(self.destination, sender=None)))
        self.assertIsInstance(outcomes[ONE], Delivered)

    def test_contents(self) -> None:
        """Any content is delivered: none at all, small at hand, large in chunks."""
        for content in (Content(b""), Content(b"", 10), Content(b"x" * 9), Content(b"line\r\n" * 100_000, 65_536)):
            outcomes = self.result(self.agent.deliver(delivery(self.destination, content=content)))
            self.assertIsInstance(outcomes[ONE], Delivered)

    def arrived(self) -> list[bytes] | None:
        """What came to the other end, without what was put in front of it; None where there is no such end."""
        return None

    def test_binary(self) -> None:
        """Binary content arrives to the octet, or not at all and fails with 5.6.3 (RFC 3030 3, RFC 3463 3.7)."""
        data = b"Content-Transfer-Encoding: binary\r\n\r\n\x00.\r\n.\r\n\n.\n\r\xff\r\r\n" + bytes(range(256)) + b"\r"
        for size in (None, 1, 100):
            what = delivery(self.destination, content=Content(data, size), body=Body.BINARY_MIME)
            outcome = self.result(self.agent.deliver(what))[ONE]
            arrived = self.arrived()
            if isinstance(outcome, Delivered):
                self.assertTrue(arrived is None or arrived[-1:] == [data], arrived)
            else:
                assert isinstance(outcome, Failure), outcome
                self.assertEqual("5.6.3", outcome.enhanced)
                self.assertFalse(arrived)

    def test_unreadable_content(self) -> None:
        """Content that can't be read, or ends too early, is our own trouble: a deferral, and nothing is delivered."""
        if not self.reads_content:
            return
        short = Content(b"line\r\n" * 100, 100)
        short.size += 1
        for content in (Content(b"line\r\n" * 100, 100, broken=1), Content(b"x" * 10, 100, broken=0), short):
            outcomes = self.result(self.agent.deliver(delivery(self.destination, (ONE, TWO), content)))
            self.assertEqual({ONE, TWO}, set(outcomes))
            for outcome in outcomes.values():
                assert isinstance(outcome, Deferral), outcome
                self.assertIs(Scope.OURSELVES, outcome.scope)
            self.assertFalse(self.arrived(), "a part of a message came through")

    def spelled(self, data: bytes) -> bytes:
        """Content as it stands at the other end."""
        return data

    def test_exact(self) -> None:
        """Dots, octets beyond ASCII, long lines, what looks like a From_ line, blank lines: all come through."""
        if self.arrived() is None:
            return
        for data in (
            b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\nend\r\n",
            b"Subject: x\r\n\r\nGr\xc3\xbc\xdfe \xff\x80\r\n",
            b"Subject: x\r\n\r\n" + b"long " * 1000 + b"\r\n",
            b"Subject: x\r\n\r\nFrom here\r\n>From there\r\n\r\nFrom\r\n",
            b"\r\n\r\n\r\nx\r\n\r\n\r\n",
            b"no header at all\r\n",
        ):
            for size in (None, 1 + len(data) // 30, 3 + len(data) // 20):
                what = delivery(self.destination, content=Content(data, size), body=Body.EIGHT_BIT_MIME)
                self.assertIsInstance(self.result(self.agent.deliver(what))[ONE], Delivered)
                self.assertIn(self.spelled(data), b"".join(self.arrived() or ()))

    def test_large(self) -> None:
        """A large message comes through whole."""
        data = b"Subject: large\r\n\r\n" + b"".join(b"%07d\r\n" % number for number in range(300_000))
        outcomes = self.result(self.agent.deliver(delivery(self.destination, content=Content(data, 262_144))))
        self.assertIsInstance(outcomes[ONE], Delivered)
        arrived = self.arrived()
        self.assertTrue(arrived is None or self.spelled(data) in b"".join(arrived))

    def test_cancelled(self) -> None:
        """A delivery that is cancelled while content is awaited leaves no part of it, and the agent goes on."""
        if not self.reads_content:
            return
        content = Content(b"line\r\n" * 100, 100)
        content.held = []
        waiting = self.agent.deliver(delivery(self.destination, content=content))
        self.settle()
        self.assertNoResult(waiting)
        waiting.addErrback(lambda fault: fault.trap(CancelledError) and None)
        waiting.cancel()
        self.settle()
        self.successResultOf(waiting)
        self.assertFalse(self.arrived())
        self.assertIsInstance(self.result(self.agent.deliver(delivery(self.destination)))[ONE], Delivered)

    def test_stopped_under_way(self) -> None:
        """A delivery that is under way when the agent is stopped comes to its end."""
        content = Content(b"line\r\n" * 100, 100)
        content.held = []
        waiting = self.agent.deliver(delivery(self.destination, content=content))
        self.settle()
        stopped = self.agent.stop()
        self.settle()
        while content.held:
            content.release()
            self.settle()
        self.assertIsInstance(self.successResultOf(waiting)[ONE], Delivered)
        self.assertIsNone(self.successResultOf(stopped))

    def broken(self) -> AbstractContextManager[object] | None:
        """A fault of our own, for as long as it is entered; None where there is nothing to break."""
        return patch("os.open", side_effect=OSError(28, "No space left on device"))

    def test_our_fault(self) -> None:
        """A fault of our own is a deferral for everybody, and never a report to a sender."""
        fault = self.broken()
        if fault is None:
            return
        with fault:
            outcomes = self.result(self.agent.deliver(delivery(self.destination, (ONE, TWO))))
        self.assertEqual({ONE, TWO}, set(outcomes))
        for outcome in outcomes.values():
            self.assertIsInstance(outcome, Deferral)
        self.assertIsInstance(self.result(self.agent.deliver(delivery(self.destination)))[ONE], Delivered)

    def test_many_at_once(self) -> None:
        """Many messages at the same time to the same recipient: each arrives once."""
        bodies = [b"Subject: x\r\n\r\nmessage %03d\r\n" % number for number in range(30)]
        waiting = [
            self.agent.deliver(delivery(self.destination, content=Content(body), message=number))
            for number, body in enumerate(bodies, 1)
        ]
        for result in waiting:
            self.assertIsInstance(self.result(result)[ONE], Delivered)
        arrived = self.arrived()
        if arrived is not None:
            whole = b"".join(arrived)
            self.assertEqual([1] * 30, [whole.count(self.spelled(body)) for body in bodies])

    def test_at_once(self) -> None:
        """Deliveries under way at the same time do not disturb each other."""
        waiting = [self.agent.deliver(delivery(self.destination, (who,))) for who in (ONE, TWO, ONE)]
        for who, result in zip((ONE, TWO, ONE), waiting, strict=True):
            self.assertEqual({who}, set(self.result(result)))

    def test_stop(self) -> None:
        """Stopping ends, with and without deliveries before it."""
        self.result(self.agent.deliver(delivery(self.destination)))
        stopped = self.agent.stop()
        self.settle()
        self.assertIsNone(self.successResultOf(stopped))

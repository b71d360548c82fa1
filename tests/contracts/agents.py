"""
What every `IDeliveryAgent` promises.

`AgentContract` is mixed into a test case that makes an agent which delivers, and a destination for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
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

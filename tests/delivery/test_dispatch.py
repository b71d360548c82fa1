"""The agent that chooses among agents, and the one that drops mail."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.address import Address
from mta.delivery.discard import DiscardAgent
from mta.delivery.dispatch import AgentByTransport
from mta.destination import Destination, NextHop, Transport
from mta.entry import Delivery
from mta.interfaces import IDeliveryAgent
from mta.outcome import Deferral, Delivered, Outcome, Phase, Scope
from tests.delivery.material import ONE, TWO, delivery


@implementer(IDeliveryAgent)
class Stoppable:
    """Ends its `stop` when the test says so."""

    def __init__(self) -> None:
        self.stops: list[Deferred[None]] = []

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return succeed(dict.fromkeys(delivery.recipients, Delivered("stoppable")))

    def stop(self) -> Deferred[None]:
        self.stops.append(Deferred())
        return self.stops[-1]


def bound_for(transport: Transport) -> Delivery:
    return delivery(Destination(NextHop(transport), transport.value), (ONE, TWO))


class DispatchTests(SynchronousTestCase):
    def test_by_transport(self) -> None:
        """Each delivery goes to the agent of its transport."""
        agent = AgentByTransport({Transport.DISCARD: DiscardAgent(), Transport.SMTP: Stoppable()})
        for transport, host in ((Transport.DISCARD, "discard:"), (Transport.SMTP, "stoppable")):
            outcome = self.successResultOf(agent.deliver(bound_for(transport)))[TWO]
            assert isinstance(outcome, Delivered)
            self.assertEqual(host, outcome.host)

    def test_no_agent(self) -> None:
        """A transport without an agent defers, as a fault of our own: the mail waits until it has one."""
        outcomes = self.successResultOf(AgentByTransport({}).deliver(bound_for(Transport.MAILDIR)))
        self.assertEqual({ONE, TWO}, set(outcomes))
        for outcome in outcomes.values():
            assert isinstance(outcome, Deferral)
            self.assertEqual((Phase.ROUTE, Scope.OURSELVES), (outcome.phase, outcome.scope))

    def test_stop_waits_for_all(self) -> None:
        """Stopping stops every agent once, though it serves two transports, and ends with the last of them."""
        first, second = Stoppable(), Stoppable()
        agent = AgentByTransport({Transport.MX: first, Transport.SMTP: first, Transport.MAILDIR: second})
        stopped = agent.stop()
        self.assertEqual((1, 1), (len(first.stops), len(second.stops)))
        first.stops[0].callback(None)
        self.assertNoResult(stopped)
        second.stops[0].callback(None)
        self.assertIsNone(self.successResultOf(stopped))

    def test_discard_reads_nothing(self) -> None:
        """Mail that is dropped is not read for it."""
        dropped = bound_for(Transport.DISCARD)
        self.successResultOf(DiscardAgent().deliver(dropped))
        self.assertEqual([], dropped.content.read)  # type: ignore[attr-defined]

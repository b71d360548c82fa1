"""
Give each delivery to the agent for its transport.

Owns: the table of agents.
Never: delivers.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, gatherResults, succeed
from zope.interface import implementer

from mta.address import Address
from mta.destination import Transport
from mta.entry import Delivery
from mta.interfaces import IDeliveryAgent
from mta.outcome import Deferral, Outcome, Phase, Scope


@implementer(IDeliveryAgent)
class AgentByTransport:
    """The agent of all agents. One agent may serve several transports (MX and SMTP)."""

    def __init__(self, agents: Mapping[Transport, IDeliveryAgent]) -> None:
        self._agents = dict(agents)

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        transport = delivery.destination.next_hop.transport
        agent = self._agents.get(transport)
        if agent is None:
            reason = f"no delivery agent for {transport.value}:"
            nobody = Deferral(reason, Phase.ROUTE, Scope.OURSELVES, enhanced="4.3.5")
            return succeed(dict.fromkeys(delivery.recipients, nobody))
        return agent.deliver(delivery)

    def stop(self) -> Deferred[None]:
        agents = {id(agent): agent for agent in self._agents.values()}
        return gatherResults([agent.stop() for agent in agents.values()]).addCallback(lambda _: None)

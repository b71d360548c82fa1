"""
Deliver to an operator's word.

Owns: the outcome of the `error:` next hop, for mail that was in the queue before, or that RCPT could not refuse: a
member of an alias, a bounce.
Never: reads the content.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.address import Address
from mta.entry import Delivery
from mta.interfaces import IDeliveryAgent
from mta.outcome import Deferral, Failure, Outcome, Phase, Scope
from mta.routing.refusal import parse_refusal


@implementer(IDeliveryAgent)
class ErrorAgent:
    """Every recipient fails, or waits, with the text of the next hop."""

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        reply = parse_refusal(delivery.destination.next_hop.target)
        # It is no peer's reply: RFC 3461 9.2 has a report not call it "smtp".
        outcome: Outcome
        if reply.is_permanent:
            outcome = Failure(reply.text, Phase.ROUTE, "error:", enhanced=reply.enhanced or "5.7.1")
        else:
            outcome = Deferral(reply.text, Phase.ROUTE, Scope.RECIPIENT, "error:", enhanced=reply.enhanced or "4.7.1")
        return succeed(dict.fromkeys(delivery.recipients, outcome))

    def stop(self) -> Deferred[None]:
        return succeed(None)

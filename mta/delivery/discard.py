"""
Deliver to nowhere.

Owns: the `discard:` next hop, for addresses whose mail an operator wants gone.
Never: reads the content; tells the sender.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.address import Address
from mta.entry import Delivery
from mta.interfaces import IDeliveryAgent
from mta.outcome import Delivered, Outcome, Phase

_GONE = Delivered("discard:", phase=Phase.STORE)


@implementer(IDeliveryAgent)
class DiscardAgent:
    """Every recipient is delivered at once."""

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return succeed(dict.fromkeys(delivery.recipients, _GONE))

    def stop(self) -> Deferred[None]:
        return succeed(None)

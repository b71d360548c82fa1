"""
Deliver to the mailbox of a system that must not send mail out.

Owns: the fields that tell for whom a message was.
Never: writes a file (`maildir.py`).
Fails: as a Maildir does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.address import Address
from mta.destination import NextHop, Transport
from mta.entry import Delivery
from mta.interfaces import IContent, IDeliveryAgent
from mta.message.trace import captured_for
from mta.outcome import Outcome


@implementer(IContent)
class _Headed:
    """A content with fields in front."""

    def __init__(self, head: bytes, content: IContent) -> None:
        self.size = len(head) + content.size
        self._head = head
        self._content = content

    def whole(self) -> bytes | None:
        whole = self._content.whole()
        return None if whole is None else self._head + whole

    def chunk(self, index: int) -> Deferred[bytes]:
        if not self._content.size:  # nothing of it would be asked for
            return succeed(b"" if index else self._head)
        read = self._content.chunk(index)
        return read if index else read.addCallback(lambda data: self._head + data)


@implementer(IDeliveryAgent)
class CaptureAgent:
    """Each recipient's message goes to the next hop's mailbox, by `maildir`: one that knows no users."""

    def __init__(self, maildir: IDeliveryAgent) -> None:
        self._maildir = maildir

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return Deferred.fromCoroutine(self._deliver(delivery))

    def stop(self) -> Deferred[None]:
        return self._maildir.stop()

    async def _deliver(self, delivery: Delivery) -> Mapping[Address, Outcome]:
        destination = replace(
            delivery.destination, next_hop=NextHop(Transport.MAILDIR, delivery.destination.next_hop.target)
        )
        outcomes: dict[Address, Outcome] = {}
        for recipient in delivery.envelope.recipients:
            head = captured_for(recipient.address, recipient.named)
            one = replace(
                delivery,
                envelope=replace(delivery.envelope, recipients=(recipient,)),
                content=_Headed(head, delivery.content),
                destination=destination,
            )
            outcomes.update(await self._maildir.deliver(one))
        return outcomes

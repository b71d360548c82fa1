"""
Make the report to the sender of what failed for good.

Owns: which part of the original goes along, and the envelope of a report: null reverse-path, to the sender.
Never: reports on a report; records or sends.
Fails: never for want of the original: a report without it is better than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mta.address import Address
from mta.entry import Entry, NewMessage
from mta.envelope import Body, Envelope, Origin, Recipient
from mta.ids import spell
from mta.interfaces import IContent
from mta.message.dsn import FailedRecipient, OriginalContent, failure_report
from mta.message.headers import header_block
from mta.queue.window import Undelivered
from mta.spool import SpoolError


@dataclass(frozen=True, slots=True)
class Bouncer:
    """`full_below`: up to this many octets the whole original goes along, else its header block (Postfix: 50,000)."""

    hostname: str
    report_from: Address
    full_below: int

    async def report(
        self,
        queue_id: int,
        entry: Entry,
        sender: Address,
        undelivered: Sequence[Undelivered],
        content: IContent,
        now: float,
    ) -> NewMessage:
        """The report on `undelivered`, as a message with queue id `queue_id` to `sender`."""
        text = failure_report(
            reporting_mta=self.hostname,
            queue_id=spell(entry.message),
            report_id=spell(queue_id),
            arrived=entry.arrived,
            now=now,
            sender=sender,
            report_from=self.report_from,
            failures=[FailedRecipient(item.recipient.address, item.outcome, now) for item in undelivered],
            original=await self._original(entry, content),
        )
        body = Body.SEVEN_BIT if text.isascii() else Body.EIGHT_BIT_MIME
        envelope = Envelope(None, (Recipient(sender),), body)
        return NewMessage(
            queue_id, now, envelope, Origin("", self.hostname, "", "bounce", {"of": spell(entry.message)}), text
        )

    async def _original(self, entry: Entry, content: IContent) -> OriginalContent | None:
        try:
            first = content.whole()
            if first is None:
                first = await content.chunk(0)
        except SpoolError:
            return None
        if entry.size <= self.full_below and len(first) == entry.size:
            return OriginalContent(first, is_whole=True)
        return OriginalContent(header_block(first), is_whole=False)

"""
Make the reports to senders: of what failed, is delayed, was delivered, relayed or expanded.

Owns: who is told what (RFC 3461 4.1, 5.2), which part of the original goes along, and the envelope of a report: null
reverse-path, to the sender.
Never: reports on a report, unless somebody was named who wants to see double bounces; records or sends.
Fails: never for want of the original: a report without it is better than none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mta.address import Address
from mta.entry import Entry, NewMessage
from mta.envelope import Body, Envelope, Notify, Origin, Recipient, RequireTls, Ret
from mta.ids import spell
from mta.interfaces import IContent
from mta.message import headers
from mta.message.automatic import is_automatic
from mta.message.dsn import report
from mta.message.dsn_status import Action, ReportedMessage, ReportedRecipient
from mta.message.returned import OriginalContent
from mta.message.templates import Language, shipped
from mta.queue.report_rate import ReportRate
from mta.queue.window import News
from mta.spool import SpoolError

_WANTED = {
    Action.FAILED: Notify.FAILURE,
    Action.DELAYED: Notify.DELAY,
    Action.DELIVERED: Notify.SUCCESS,
    Action.RELAYED: Notify.SUCCESS,
    Action.EXPANDED: Notify.SUCCESS,
}
# The start of the Received field that we wrote (`mta/message/trace.py`).
_RECEIVED = re.compile(r"from ([A-Za-z0-9._:\[\]-]{1,255}) ")


@dataclass(frozen=True, slots=True)
class Told:
    """
    A report, and the addresses that it tells of.

    `message` None is no report; `silence` says why where somebody would have been told.
    """

    message: NewMessage | None
    addresses: frozenset[Address] = frozenset()
    silence: str = ""


_NOBODY = Told(None)


@dataclass(frozen=True, slots=True)
class Bouncer:
    """
    Makes reports in the name of `report_from`.

    `full_below`: up to this many octets the whole original goes along, else its header block (Postfix: 50,000). That
    holds against RET=FULL (RFC 3461 6.2), too: a large message must not be thrown at whose address somebody else used.
    `languages` are the texts for people, the first one has the
    subject. `double_bounce` gets what can't be reported to anybody, None: nobody does.
    """

    hostname: str
    report_from: Address
    full_below: int
    languages: tuple[Language, ...] = field(default_factory=shipped)
    double_bounce: Address | None = None
    rate: ReportRate = field(default_factory=lambda: ReportRate(0))

    async def report(
        self, queue_id: int, entry: Entry, news: Sequence[News], content: IContent, now: float, expiry: float
    ) -> Told:
        """
        The report on those of `news` that the sender wants to hear of, as a message with queue id `queue_id`.

        `now` and `expiry` (until when the message is tried) in seconds since 1970.
        """
        to = entry.sender or self.double_bounce
        wanted = [item for item in news if self._is_wanted(entry, item)]
        if to is None or not wanted:
            return _NOBODY
        first = await self._first_chunk(content)
        block = headers.header_block(first or b"")
        if any(item.action is Action.DELAYED for item in wanted) and is_automatic(block):
            wanted = [item for item in wanted if item.action is not Action.DELAYED]
        if not wanted:
            return _NOBODY
        if not self.rate.admit(to, now):
            return Told(None, silence=f"no report: {to} gets at most {self.rate.per_hour} an hour")
        queue_text = spell(entry.message)
        made = report(
            reporting_mta=self.hostname,
            report_id=spell(queue_id),
            report_from=self.report_from,
            to=to,
            now=now,
            message=ReportedMessage(
                queue_text, entry.arrived, entry.sender, _received_from(block, queue_text), entry.envid
            ),
            recipients=[_reported(item, now, expiry) for item in wanted],
            original=self._original(entry, wanted, first),
            languages=self.languages,
            is_double=entry.sender is None,
        )
        body = Body.SEVEN_BIT if made.data.isascii() else Body.EIGHT_BIT_MIME
        # RFC 8689 5: what the sender says of TLS holds for what is told of the message as well.
        envelope = Envelope(None, (Recipient(to),), body, made.utf8, require_tls=entry.require_tls)
        origin = Origin("", self.hostname, "", "bounce", {"of": queue_text})
        message = NewMessage(queue_id, now, envelope, origin, made.data)
        return Told(message, frozenset(item.recipient.address for item in wanted))

    def _is_wanted(self, entry: Entry, news: News) -> bool:
        if not news.recipient.recipient.wants(_WANTED[news.action]):
            return False
        if entry.sender is not None:
            return True
        # RFC 5321 4.5.5, 6.1: no report on a report; and the failure of a double bounce ends here.
        return news.action is Action.FAILED and news.recipient.address != self.double_bounce

    async def _first_chunk(self, content: IContent) -> bytes | None:
        """The content, or where it is large its beginning; None where it can't be read."""
        whole = content.whole()
        if whole is not None:
            return whole
        try:
            return await content.chunk(0)
        except SpoolError:
            return None

    def _original(self, entry: Entry, news: Sequence[News], first: bytes | None) -> OriginalContent | None:
        if first is None:
            return None
        is_whole = (
            # RFC 3461 4.3: where nothing failed, only the headers SHOULD be returned, whatever RET says.
            any(item.action is Action.FAILED for item in news)
            and entry.ret is not Ret.HDRS
            and entry.require_tls is not RequireTls.YES  # RFC 8689 5: RET=FULL is disregarded
            and entry.size <= self.full_below
            and len(first) == entry.size
            # What holds binary content is sent with BINARYMIME alone (RFC 3030 3), and few would take the report.
            and entry.body is not Body.BINARY_MIME
        )
        return OriginalContent(first if is_whole else headers.header_block(first), is_whole)


def _reported(news: News, now: float, expiry: float) -> ReportedRecipient:
    return ReportedRecipient(
        news.recipient.recipient,
        news.action,
        news.outcome,
        attempted=now if news.outcome is not None and news.counts else None,
        retry_until=expiry if news.action is Action.DELAYED else None,
    )


def _received_from(block: bytes, queue_id: str) -> str:
    """What the client called itself, from the Received field that we put on top; "" where that is not ours."""
    value = headers.field(block, b"Received") or ""
    found = _RECEIVED.match(value)
    return found[1] if found and f" id {queue_id}" in value else ""

"""
A message in the queue as the queue manager, the spool and the delivery agents see it.

Owns: the states of a recipient, the entry, and what one round of attempts reports back to the spool.
Never: holds large content; `content` is filled only for small messages that were just committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from mta.address import Address
from mta.destination import Destination
from mta.envelope import Body, Envelope, Notify, Origin, Recipient, RequireTls, Ret
from mta.events import Event
from mta.interfaces import IContent

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

# Content up to this size travels with its entry to the first attempt; larger is read back chunk by chunk.
SMALL = 64 * 1024

# Recipients, and the host that is about to get the end of the content for them.
Mark = Callable[[Sequence[Address], str], "Deferred[None]"]


class State(Enum):
    """
    The state of a recipient in the spool; the last four are final.

    IN_DOUBT is how a queued or held recipient is told of whose last attempt may have delivered the message.
    """

    QUEUED = "queued"
    HELD = "held"
    QUARANTINED = "quarantined"
    IN_DOUBT = "in-doubt"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    DISCARDED = "discarded"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset((State.DELIVERED, State.BOUNCED, State.EXPIRED, State.DISCARDED))


@dataclass(slots=True)
class QueuedRecipient:
    """
    A recipient that is due: how often it was tried, and when it is due in seconds since 1970.

    `notify`, `orcpt`, `named` as in `mta.envelope.Recipient`; `delay_told`: its sender has had a notice of the delay;
    `last_reply`: why it is still here, as people read it in the queue. `next_hop` is where an operator sends it, ""
    where the routes decide; `ended` is what its sender is told where an operator gave it up.
    """

    address: Address
    attempts: int = 0
    due: float = 0.0
    notify: frozenset[Notify] | None = None
    orcpt: str = ""
    delay_told: bool = False
    last_reply: str = ""
    named: str = ""
    next_hop: str = ""
    ended: str | None = None

    @property
    def recipient(self) -> Recipient:
        """As its sender named it."""
        return Recipient(self.address, self.notify, self.orcpt, self.named)


@dataclass(slots=True)
class Entry:
    """
    A claimed message with its due recipients.

    `message` is the queue id, `arrived` in seconds since 1970, `size` in octets. `content` is the whole content where
    it is small and at hand, else None: ask the spool. `utf8`, `ret`, `envid`, `require_tls`, `tls_report` as in
    `mta.envelope.Envelope`, and `expanded` as well, () once the sender has been told.
    """

    message: int
    arrived: float
    sender: Address | None
    size: int
    body: Body
    recipients: list[QueuedRecipient]
    content: bytes | None = None
    utf8: bool = False
    ret: Ret | None = None
    envid: str = ""
    expanded: tuple[Recipient, ...] = ()
    require_tls: RequireTls | None = None
    tls_report: bool = False

    def envelope(self, recipients: Iterable[QueuedRecipient]) -> Envelope:
        """The envelope for some of its recipients."""
        named = tuple(item.recipient for item in recipients)
        return Envelope(
            self.sender, named, self.body, self.utf8, self.ret, self.envid, (), self.require_tls, self.tls_report
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    One transaction for a delivery agent: a message, the recipients that share a destination, and the content.

    An agent answers with one outcome for each recipient of the envelope, by address. Where it hands the message to
    somebody who may take it and not be able to say so, it calls `mark` first and waits: what fires is durable, and a
    failure means that nothing may be sent.

    `alone`: it is the only recipient of the message that has something to wait for, so that what becomes of it is
    recorded at once. Then `mark` may be called as soon as the attempt begins: one that was not needed does not stay.
    """

    message: int
    arrived: float
    envelope: Envelope
    content: IContent
    destination: Destination
    mark: Mark
    alone: bool = False

    @property
    def sender(self) -> Address | None:
        return self.envelope.sender

    @property
    def recipients(self) -> tuple[Address, ...]:
        """The addresses of the recipients."""
        return tuple(recipient.address for recipient in self.envelope.recipients)

    @property
    def body(self) -> Body:
        return self.envelope.body


@dataclass(frozen=True, slots=True)
class Result:
    """
    The new state of one recipient; the other fields matter where it stays in the queue. `due` in seconds since 1970.

    `in_doubt`: whether the host may have the message and has not said so; None where the attempt got no answer that
    could end an older doubt. `site` and `code` are those of the attempt, None where they are not known: then the older
    ones stay.
    """

    address: Address
    state: State
    due: float = 0.0
    last_reply: str = ""
    counts: bool = True  # whether this was an attempt; waiting for a dead site is none
    delay_told: bool = False  # the report's bounce tells its sender of the delay
    in_doubt: bool | None = None
    site: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that we make ourselves, small enough to be held in memory: a bounce."""

    message: int
    arrived: float
    envelope: Envelope
    origin: Origin
    content: bytes

    def entry(self) -> Entry:
        """It as it stands in the queue for its first attempt."""
        recipients = [
            QueuedRecipient(each.address, 0, self.arrived, each.notify, each.orcpt, named=each.named)
            for each in self.envelope.recipients
        ]
        envelope, size = self.envelope, len(self.content)
        entry = Entry(self.message, self.arrived, envelope.sender, size, envelope.body, recipients)
        entry.content = self.content if size <= SMALL else None
        entry.utf8, entry.require_tls = envelope.utf8, envelope.require_tls
        entry.tls_report = envelope.tls_report
        return entry


@dataclass(frozen=True, slots=True)
class Report:
    """
    What the spool records for one message in one transaction.

    `keep_claim`: other recipients of the message are still being worked on. `bounce` becomes a message of its own,
    due at once, in the same transaction: a crash can't lose it or send it twice. `claims_bounce`: who reports goes on
    with it, as with a message that was committed with a claim. `expansion_told`: its sender knows of `Entry.expanded`
    now, or has had his chance. `size` is the message's, in octets. `waits_for` is the site that all of its results wait
    for: they may be due before their time, when it answers.
    """

    message: int
    results: tuple[Result, ...]
    events: tuple[Event, ...]
    keep_claim: bool = False
    bounce: NewMessage | None = None
    expansion_told: bool = False
    size: int = 0
    claims_bounce: bool = False
    waits_for: str | None = None

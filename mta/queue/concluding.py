"""
From the outcome of an attempt to what is recorded of it.

Owns: the result and the event of each outcome, and when a deferral is the last one.
Never: waits, records, sends; every function here depends on its arguments alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.address import Address
from mta.destination import Destination
from mta.entry import QueuedRecipient, Result, State
from mta.events import Event, Kind
from mta.outcome import Deferral, Delivered, Failure, Outcome, Phase, Scope
from mta.queue.turns import Ending

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """What the outcomes of one attempt share: the message, when, and its expiry (seconds since 1970)."""

    message: int
    arrived: float
    now: float
    expiry: float


def ending_of(outcomes: list[Outcome]) -> Ending:
    """What the outcomes of one attempt say of the site."""
    scopes = {outcome.scope for outcome in outcomes if isinstance(outcome, Deferral)}
    if Scope.SITE in scopes and len(scopes) == 1 and all(isinstance(outcome, Deferral) for outcome in outcomes):
        return Ending.NO_ANSWER
    if scopes == {Scope.OURSELVES}:
        return Ending.OUR_FAULT
    return Ending.ANSWERED


def is_final(outcome: Outcome, moment: Moment) -> bool:
    """
    Whether the sender must be told: a failure, or a deferral after the lifetime.

    A fault of our own never ends a message (DESIGN, invariant 6); a DNS that can't be asked for all of the lifetime
    does, as any other deferral: the sender has waited long enough.
    """
    if isinstance(outcome, Failure):
        return True
    if isinstance(outcome, Delivered) or moment.now < moment.expiry:
        return False
    return outcome.scope is not Scope.OURSELVES or outcome.phase is Phase.DNS


def routed(message: int, now: float, address: Address, rule: str, destination: Destination) -> Event:
    """The event of a recipient that got its destination."""
    detail = {"rule": rule, "next_hop": str(destination.next_hop), "site": destination.site}
    return Event(message, now, Kind.ROUTED, str(address), detail)


def delivered(moment: Moment, recipient: QueuedRecipient, outcome: Delivered) -> tuple[Result, Event]:
    """What is recorded of a delivery."""
    detail: dict[str, Value] = {
        "attempt": recipient.attempts + 1,
        "host": outcome.host,
        "reply": outcome.reply.raw if outcome.reply else None,
        "delay": round(moment.now - moment.arrived, 3),
    }
    event = Event(moment.message, moment.now, Kind.DELIVERED, str(recipient.address), detail)
    return Result(recipient.address, State.DELIVERED), event


def deferred(moment: Moment, recipient: QueuedRecipient, outcome: Deferral, due: float) -> tuple[Result, Event]:
    """What is recorded of a deferral that is not the last one."""
    detail = {**_words(recipient.attempts + 1, outcome), "due": due}
    event = Event(moment.message, moment.now, Kind.DEFERRED, str(recipient.address), detail)
    return Result(recipient.address, State.QUEUED, due, outcome.reason), event


def postponed(moment: Moment, recipient: QueuedRecipient, due: float, reason: str) -> tuple[Result, Event]:
    """What is recorded of a recipient whose turn did not come: nobody was asked, so no attempt is counted."""
    detail: dict[str, Value] = {"attempt": 0, "reason": reason, "phase": Phase.QUEUE.value, "due": due}
    event = Event(moment.message, moment.now, Kind.DEFERRED, str(recipient.address), detail)
    return Result(recipient.address, State.QUEUED, due, reason, counts=False), event


def undelivered(
    moment: Moment, recipient: QueuedRecipient, outcome: Failure | Deferral, dsn: str | None
) -> tuple[Result, Event]:
    """What is recorded of a recipient that failed for good; `dsn` is the queue id of the report, None for none."""
    failed = isinstance(outcome, Failure)
    event = Event(
        moment.message,
        moment.now,
        Kind.BOUNCED if failed else Kind.EXPIRED,
        str(recipient.address),
        {**_words(recipient.attempts + 1, outcome), "dsn": dsn},
    )
    return Result(recipient.address, State.BOUNCED if failed else State.EXPIRED), event


def _words(attempt: int, outcome: Failure | Deferral) -> dict[str, Value]:
    return {
        "attempt": attempt,
        "reason": outcome.reason,
        "host": outcome.host,
        "phase": outcome.phase.value,
        "reply": outcome.reply.raw if outcome.reply else None,
        "code": outcome.enhanced,
    }

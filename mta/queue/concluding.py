"""
From the outcome of an attempt to what is recorded of it.

Owns: the result and the event of each outcome, and when a deferral is the last one.
Never: waits, records, sends; every function here depends on its arguments alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mta.address import Address
from mta.entry import Entry, QueuedRecipient, Result, State
from mta.envelope import Notify
from mta.events import Event, Kind
from mta.message.dsn_status import Action
from mta.outcome import Deferral, Delivered, Failure, Handover, Outcome, Phase, Scope, judge_exception
from mta.queue.turns import Ending
from mta.queue.window import Job, News

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """
    What the outcomes of one attempt share: the message, in seconds since 1970 when, and from when it is late, and the
    site, None where nobody was asked.
    """

    message: int
    arrived: float
    now: float
    expiry: float
    notice: float = math.inf
    site: str | None = None


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


def confirmed(recipient: QueuedRecipient, outcome: Delivered) -> Action | None:
    """What a sender who asked for it is told of a delivery; None: nothing, or the next hop tells (RFC 3461 5.2.1)."""
    if recipient.notify is None or Notify.SUCCESS not in recipient.notify:
        return None
    return _CONFIRMED.get(outcome.kind)


_CONFIRMED = {Handover.FINAL: Action.DELIVERED, Handover.RELAYED: Action.RELAYED}


def expanded(entry: Entry) -> list[News]:
    """What a sender is told of the aliases that his recipients stood for (RFC 3461 5.2.7.3)."""
    return [
        News(QueuedRecipient(each.address, 0, 0.0, each.notify, each.orcpt), Action.EXPANDED, None)
        for each in entry.expanded
    ]


def is_late(recipient: QueuedRecipient, moment: Moment) -> bool:
    """Whether the sender is to be told of a deferral, if he wants to know: once for each recipient."""
    return moment.now >= moment.notice and not recipient.delay_told and recipient.recipient.wants(Notify.DELAY)


def routed(job: Job) -> list[Event]:
    """The events that tell how the recipients of a job, whose attempt begins, came to its destination."""
    message, next_hop, site = job.active.entry.message, str(job.destination.next_hop), job.destination.site
    return [
        Event(
            message,
            job.planned,
            Kind.ROUTED,
            str(recipient.address),
            {"rule": rule, "next_hop": next_hop, "site": site},
        )
        for recipient, rule in zip(job.recipients, job.rules, strict=True)
    ]


def delivered(moment: Moment, recipient: QueuedRecipient, outcome: Delivered) -> tuple[Result, Event]:
    """What is recorded of a delivery."""
    detail: dict[str, Value] = {
        "attempt": recipient.attempts + 1,
        "host": outcome.host,
        "reply": outcome.reply.raw if outcome.reply else None,
        "delay": round(moment.now - moment.arrived, 3),
    }
    if outcome.tls:
        detail["tls"] = outcome.tls
    if outcome.choice:
        detail["choice"] = outcome.choice
    event = Event(moment.message, moment.now, Kind.DELIVERED, str(recipient.address), detail)
    return Result(recipient.address, State.DELIVERED), event


def deferred(
    moment: Moment, recipient: QueuedRecipient, outcome: Deferral, due: float | None, dsn: str | None = None
) -> tuple[Result, Event]:
    """
    What is recorded of a deferral that is not the last one; a `dsn` is the report that told the sender of it.

    `due` None: it is held until an operator releases it.
    """
    detail = _words(recipient.attempts + 1, outcome)
    if outcome.tls:
        detail["tls"] = outcome.tls
    if due is not None:
        detail["due"] = due
    if dsn is not None:
        detail["dsn"] = dsn
    kind = Kind.DEFERRED
    if outcome.in_doubt:
        kind = Kind.IN_DOUBT
        del detail["reply"]  # there is none: that is the doubt
    result = Result(
        recipient.address,
        State.HELD if due is None else State.QUEUED,
        moment.now if due is None else due,
        outcome.reason,
        delay_told=dsn is not None,
        # A host that said nothing this time does not tell what became of the time before.
        in_doubt=True if outcome.in_doubt else None if outcome.reply is None else False,
        site=moment.site,
        code=f"{outcome.reply.code} {outcome.enhanced}" if outcome.reply else outcome.enhanced,
    )
    return result, Event(moment.message, moment.now, kind, str(recipient.address), detail)


def postponed(
    moment: Moment, recipient: QueuedRecipient, due: float, reason: str, dsn: str | None = None
) -> tuple[Result, Event]:
    """What is recorded of a recipient whose turn did not come: nobody was asked, so no attempt is counted."""
    detail: dict[str, Value] = {"attempt": 0, "reason": reason, "phase": Phase.QUEUE.value, "due": due}
    if dsn is not None:
        detail["dsn"] = dsn
    event = Event(moment.message, moment.now, Kind.DEFERRED, str(recipient.address), detail)
    return Result(recipient.address, State.QUEUED, due, reason, counts=False, delay_told=dsn is not None), event


def undelivered(
    moment: Moment, recipient: QueuedRecipient, outcome: Failure | Deferral, dsn: str | None, silence: str = ""
) -> tuple[Result, Event]:
    """
    What is recorded of a recipient that failed for good.

    `dsn` is the queue id of the report, None for none; `silence` says why, where the sender would have wanted one.
    """
    failed = isinstance(outcome, Failure)
    words = _words(recipient.attempts + 1, outcome)
    if dsn is None and silence:
        words["reason"] = f"{outcome.reason} ({silence})"
    event = Event(
        moment.message,
        moment.now,
        Kind.BOUNCED if failed else Kind.EXPIRED,
        str(recipient.address),
        {**words, "dsn": dsn},
    )
    return Result(recipient.address, State.BOUNCED if failed else State.EXPIRED), event


def bad_news(moment: Moment, news: News, dsn: str | None, silence: str) -> tuple[Result, Event]:
    """What is recorded of a recipient whose sender was told that it failed or is delayed, or would have been."""
    outcome = news.outcome
    assert isinstance(outcome, Failure | Deferral)
    if news.action is Action.FAILED:
        return undelivered(moment, news.recipient, outcome, dsn, silence)
    assert isinstance(outcome, Deferral)
    if news.counts:
        return deferred(moment, news.recipient, outcome, news.due, dsn)
    return postponed(moment, news.recipient, news.due, outcome.reason, dsn)


def _words(attempt: int, outcome: Failure | Deferral) -> dict[str, Value]:
    words: dict[str, Value] = {
        "attempt": attempt,
        "reason": outcome.reason,
        "host": outcome.host,
        "phase": outcome.phase.value,
        "reply": outcome.reply.raw if outcome.reply else None,
        "code": outcome.enhanced,
    }
    if outcome.choice:
        words["choice"] = outcome.choice
    return words


_NO_OUTCOME = judge_exception(LookupError("the delivery agent gave no outcome"), Phase.QUEUE)


def by_recipient(
    outcomes: Mapping[Address, Outcome], recipients: list[QueuedRecipient]
) -> list[tuple[QueuedRecipient, Outcome]]:
    """Each recipient with its outcome. Raises where the agent gave something else than outcomes."""
    found = [(recipient, outcomes.get(recipient.address, _NO_OUTCOME)) for recipient in recipients]
    for _recipient, outcome in found:
        if not isinstance(outcome, Outcome):
            raise TypeError(f"the delivery agent gave {outcome!r} as an outcome")
    return found

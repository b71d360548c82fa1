"""
What must hold of every simulation, whatever happened in it.

Owns: the invariants 4 to 10 of the design, each a function of the evidence, and the list of all checks; those that
follow from the invariants stand in `consequences.py`.
Never: makes anything happen; excuses anything but what each function names.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mta.events import TERMINAL, Event, Kind
from mta.ids import spell
from mta.policy.clients import Networks
from mta.sim import consequences
from mta.sim.evidence import TICK, Evidence, detail, domain_of, events_on_disk, name_of
from mta.sim.message import is_whole, queue_id_of
from mta.sim.simulation import Result

# Mail for a healthy site is there so soon, however bad the others are: the slowest answer of the DNS takes 10 s.
DELIVERED_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class Violation:
    """`rule` names the invariant, `what` says who and when in a sentence."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def violations(result: Result) -> list[Violation]:
    """Everything in a finished simulation that breaks an invariant; the Maildirs of `result` must still be there."""
    evidence = Evidence(result)
    return [Violation(rule, what) for rule, check in _CHECKS.items() for what in check(evidence)]


def duplicates(result: Result) -> int:
    """How many recipients got a message more often than once; each of them is explained, or a violation."""
    evidence = Evidence(result)
    counts = Counter(
        (each.token, each.recipient)
        for arrivals in evidence.arrivals.values()
        for each in arrivals
        if each.token is not None
    )
    return sum(count - 1 for count in counts.values())


# -- 4: what was promised is kept


def _promises_kept(evidence: Evidence) -> Iterator[str]:
    for promise in evidence.ledger.promises:
        message = promise.message
        if message is None or message not in evidence.accepted:
            yield f"token {promise.token} was promised as {name_of(message)}, which no event speaks of"
            continue
        for recipient in evidence.recipients(promise.recipient):
            trouble = _lost(evidence, message, recipient)
            if trouble:
                yield f"{name_of(message)} (token {promise.token}) for {recipient}: {trouble}"
    for message, queued in evidence.queued.items():
        if queue_id_of(queued.content) != message or len(queued.content) != queued.size:
            yield f"{name_of(message)} is in the spool, but its content is not whole"
    for promise in evidence.ledger.promises:
        found = evidence.queued.get(promise.message or 0)
        if found is not None and not is_whole(found.content, promise.token, evidence.ledger.sent[promise.token][2]):
            yield f"{name_of(promise.message)} is in the spool with another content than token {promise.token}"


def _lost(evidence: Evidence, message: int, recipient: str) -> str:
    """Why a promise is broken; "" where it is kept."""
    queued = evidence.queued.get(message)
    if queued is not None and recipient in queued.recipients:
        return ""
    end = evidence.ended.get((message, recipient))
    if end is None:
        return "it is neither in the queue nor was anything concluded"
    if end.kind is Kind.DELIVERED:
        if detail(end, "host") == "discard:":
            return ""
        whole = any(each.whole for each in evidence.arrivals[message, recipient])
        return "" if whole else "it is said to be delivered, but did not arrive whole"
    if end.kind is Kind.DISCARDED:
        return ""
    return _untold(evidence, end)


def _untold(evidence: Evidence, end: Event) -> str:
    """Why the sender of what failed was not told though he should have been; "" where all is well."""
    sender = evidence.sender(end.message)
    dsn = detail(end, "dsn")
    if not dsn:
        silent = not sender and evidence.config.double_bounce is None  # RFC 5321 6.1: nobody is told
        return "" if silent or "no report:" in detail(end, "reason") else f"it {end.kind.value}, and nobody was told"
    for message, event in evidence.accepted.items():
        if spell(message) == dsn:
            return "" if detail(event, "of") == spell(end.message) else f"the report {dsn} is about another message"
    return f"it {end.kind.value}, but the report {dsn} was never queued"


# -- 5: the books balance


def _books_balance(evidence: Evidence) -> Iterator[str]:
    ended: dict[int, set[str]] = defaultdict(set)
    for (message, recipient), end in evidence.ended.items():
        ended[message].add(recipient)
        terminal = [each for each in evidence.story[message, recipient] if each.kind in TERMINAL]
        if len(terminal) > 1:
            yield f"{name_of(message)} for {recipient} ended {len(terminal)} times, last as {terminal[-1].kind.value}"
        if evidence.story[message, recipient][-1] is not end and len(terminal) == 1:
            yield f"{name_of(message)} for {recipient} {end.kind.value} and went on"
    for message, event in evidence.accepted.items():
        queued = evidence.queued.get(message)
        waiting = (
            {address for address, row in queued.recipients.items() if row.state != "discarded"} if queued else set()
        )
        both = waiting & ended[message]
        if both:
            yield f"{name_of(message)} for {', '.join(sorted(both))} is concluded and in the queue"
        count = int(detail(event, "recipients") or 0)
        if len(ended[message] | waiting) != count:
            yield f"{name_of(message)} has {count} recipients: {len(ended[message])} concluded, {len(waiting)} queued"
        if queued is not None and not queued.recipients:
            yield f"{name_of(message)} is in the queue for nobody"
    for message in evidence.of_message:
        if message not in evidence.accepted:
            yield f"{name_of(message)} has events, but none that it was accepted"
    for message in evidence.queued:
        if message not in evidence.accepted and message >> 21 >= int(evidence.result.start * 1000):
            yield f"{name_of(message)} is in the queue, but was never accepted"


def _deliveries_are_real(evidence: Evidence) -> Iterator[str]:
    for (message, recipient), end in evidence.ended.items():
        if end.kind is not Kind.DELIVERED or detail(end, "host") == "discard:":
            continue
        taken = [each for each in evidence.arrivals[message, recipient] if each.acknowledged]
        if not any(each.at <= end.at + TICK for each in taken):
            yield f"{name_of(message)} for {recipient} is said to be delivered, and nobody has acknowledged it"
    for (message, recipient), arrivals in evidence.arrivals.items():
        conclusion = evidence.ended.get((message, recipient))
        taken = [each for each in arrivals if each.acknowledged]
        if conclusion is not None and conclusion.kind is Kind.DELIVERED:
            taken = taken[:-1]  # that one is the delivery
        for each in taken:
            if not evidence.is_lost(recipient, each.at):
                where = f"{each.site} at {_at(evidence, each.at)}"
                yield f"{name_of(message)} for {recipient} was taken by {where}: no event"


def _log_is_on_disk(evidence: Evidence) -> Iterator[str]:
    if evidence.result.end - evidence.result.start >= evidence.config.queue.events_keep:
        return  # old events have been forgotten
    told = {(each.message, each.at, each.kind.value, each.recipient) for each in evidence.ledger.events}
    for message, _at_time, kind, recipient in sorted(told ^ events_on_disk(evidence.result), key=str):
        yield f"{name_of(message)}: the log and the database differ in {kind} {recipient or ''}"


# -- 6: bounces are justified


def _bounces_are_justified(evidence: Evidence) -> Iterator[str]:
    for (message, recipient), end in evidence.ended.items():
        if message not in evidence.accepted:
            continue
        if end.kind is Kind.BOUNCED and not _is_refused(evidence, message, recipient, end):
            yield f"{name_of(message)} for {recipient} bounced without a cause: {detail(end, 'reason')}"
        elif end.kind is Kind.EXPIRED:
            trouble = _expired_wrongly(evidence, end)
            if trouble:
                yield f"{name_of(message)} for {recipient} expired {trouble}: {detail(end, 'reason')}"


def _is_refused(evidence: Evidence, message: int, recipient: str, end: Event) -> bool:
    reply = detail(end, "reply")
    if not reply:
        names, domain = evidence.result.scenario.names, domain_of(recipient)
        missing = domain in names.nxdomain or (names.others == "nxdomain" and evidence.site(recipient) is None)
        return (missing or domain in names.null_mx) and detail(end, "phase") == "dns"
    sender, since = evidence.sender(message), evidence.accepted[message].at
    return any(
        each.reply.strip() == reply.strip()
        and each.sender == sender
        and each.recipient in (recipient, "*")
        and since <= each.at <= end.at
        for each in evidence.ledger.refusals
    )


def _expired_wrongly(evidence: Evidence, end: Event) -> str:
    queue = evidence.config.queue
    lifetime = queue.lifetime if evidence.sender(end.message) else queue.bounce_lifetime
    early = evidence.accepted[end.message].at + lifetime - end.at
    if early > TICK:
        return f"{early:.0f} s too early"
    reason = detail(end, "reason")
    if detail(end, "phase") in ("store", "queue") or reason.startswith(("internal error", "cannot read")):
        return "by a fault of our own"
    return ""


def _reports_are_reports(evidence: Evidence) -> Iterator[str]:
    named = {detail(event, "dsn") for event in evidence.ledger.events}
    for message, event in evidence.accepted.items():
        if detail(event, "protocol") != "bounce":
            continue
        about = next((each for each in evidence.accepted if spell(each) == detail(event, "of")), None)
        if evidence.sender(message):
            yield f"the report {name_of(message)} has a reverse-path"
        if about is None:
            yield f"the report {name_of(message)} is about an unknown message"
            continue
        to = evidence.sender(about) or str(evidence.config.double_bounce or "")
        if not to:
            yield f"{name_of(message)} reports on {name_of(about)}, which has no sender"
        told = {recipient for (queue_id, recipient) in evidence.story if queue_id == message}
        told |= set(evidence.queued[message].recipients) if message in evidence.queued else set()
        if told - {to}:
            yield f"the report {name_of(message)} went to {', '.join(sorted(told))} and not to {to}"
        if spell(message) not in named:
            yield f"the report {name_of(message)} on {name_of(about)} tells of what is not in the log"
        elif detail(evidence.accepted[about], "protocol") == "bounce" and evidence.config.double_bounce is None:
            yield f"{name_of(message)} is a report on the report {name_of(about)}"


# -- 7 to 10


def _one_attempt_at_a_time(evidence: Evidence) -> Iterator[str]:
    for each in evidence.ledger.overlaps:
        yield f"{name_of(each.message)} for {each.recipient} was sent twice at once at {_at(evidence, each.at)}"


def _connections_are_limited(evidence: Evidence) -> Iterator[str]:
    queue = evidence.config.queue
    endpoints = {site.name: len(site.endpoints) for site in evidence.result.scenario.sites}
    for name, figures in evidence.ledger.sites.items():
        # To the queue each endpoint is a site of its own.
        shares = 1 + endpoints.get(name, 0)
        if figures.peak_connections > queue.site_connections * shares:
            yield f"{name} saw {figures.peak_connections} connections at once"
        if figures.peak_ahead > queue.site_connections_initial * shares:
            yield f"{name} saw {figures.peak_ahead} connections before it had answered to any"


def _healthy_mail_is_quick(evidence: Evidence) -> Iterator[str]:
    for promise in evidence.ledger.promises:
        last = promise.at + DELIVERED_WITHIN
        # A fault of ours shortly before still has things to be done again.
        if promise.message is None or last > evidence.result.end or evidence.was_broken(promise.at - 60.0, last):
            continue
        for recipient in evidence.recipients(promise.recipient):
            end = evidence.ended.get((promise.message, recipient))
            if evidence.is_healthy(recipient) and (end is None or end.kind is not Kind.DELIVERED or end.at > last):
                yield f"{name_of(promise.message)} for {recipient} was not delivered within {DELIVERED_WITHIN:.0f} s"


def _strangers_do_not_relay(evidence: Evidence) -> Iterator[str]:
    trusted = Networks(evidence.config.relay.networks)
    strange = {
        message
        for message, event in evidence.accepted.items()
        if detail(event, "client") and not trusted.contains(detail(event, "client"))
    }
    recipients = {pair for pair in evidence.story if pair[0] in strange}
    recipients |= {
        (each, address) for each in strange & evidence.queued.keys() for address in evidence.queued[each].recipients
    }
    for message, recipient in sorted(recipients):
        if not evidence.is_local(recipient) and not _is_relayed(evidence, recipient):
            yield f"{name_of(message)} for {recipient} was taken from a stranger"
    for promise in evidence.ledger.promises:
        ours = evidence.is_local(promise.recipient) or _is_relayed(evidence, promise.recipient)
        if promise.token in evidence.ledger.strangers and not ours:
            yield f"token {promise.token} for {promise.recipient} was taken from a stranger"


def _is_relayed(evidence: Evidence, recipient: str) -> bool:
    domain = domain_of(recipient)
    routed = any(character in recipient.rpartition("@")[0] for character in "%!@:")
    return not routed and any(
        each == "*" or domain == each or (each.startswith(".") and domain.endswith(each))
        for each in evidence.config.relay.domains
    )


def _at(evidence: Evidence, at: float) -> str:
    return f"{at - evidence.result.start:.3f} s"


_CHECKS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "4 promises": _promises_kept,
    "5 books": _books_balance,
    "5 deliveries": _deliveries_are_real,
    "5 log": _log_is_on_disk,
    "6 bounces": _bounces_are_justified,
    "6 reports": _reports_are_reports,
    "7 one attempt": _one_attempt_at_a_time,
    "8 connections": _connections_are_limited,
    "9 healthy sites": _healthy_mail_is_quick,
    "10 strangers": _strangers_do_not_relay,
    "content": consequences.content_is_whole,
    "duplicates": consequences.duplicates_are_explained,
    "in doubt": consequences.doubt_is_told,
    "retry times": consequences.times_are_kept,
    "nobody forgotten": consequences.nobody_is_forgotten,
    "no fault of ours": consequences.nothing_of_ours_raised,
}

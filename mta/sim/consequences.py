"""
What follows from the invariants: content, duplicates, times, doubts, and that nobody is forgotten.

Owns: these checks of a finished simulation, each a function of the evidence that yields a sentence for each violation.
Never: makes anything happen; excuses anything but what each function names.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from mta.events import TERMINAL, Kind
from mta.outcome import DOUBT
from mta.sim.evidence import TICK, Evidence, detail, domain_of, name_of
from mta.sim.ledger import Arrival

# What is due must have had its turn after so long. An attempt itself may take two sessions of slow phases.
OVERDUE_AFTER = 3600.0
# What lies in the spool unclaimed must have been claimed so soon after it was due.
CLAIMED_WITHIN = 60.0
# A peer that stalls holds one of our connections to its site so long, and those behind it wait.
STALLED_FOR = 1500.0
_DEFERRED = (Kind.DEFERRED, Kind.IN_DOUBT)


def content_is_whole(evidence: Evidence) -> Iterator[str]:
    for each in _all_arrivals(evidence):
        if each.token is not None and not each.whole:
            yield f"token {each.token} came to {each.site} for {each.recipient} with another content"
        elif each.message is None or each.message not in evidence.accepted:
            yield f"{each.site} got {name_of(each.message)} for {each.recipient}, which was never accepted"


def duplicates_are_explained(evidence: Evidence) -> Iterator[str]:
    copies: dict[tuple[int, str], set[int]] = defaultdict(set)
    for (message, recipient), arrivals in evidence.arrivals.items():
        for each in arrivals:
            if each.token is not None:
                copies[each.token, recipient].add(message)
        for first in arrivals[:-1]:
            if first.acknowledged and not evidence.is_lost(recipient, first.at):
                yield f"{name_of(message)} for {recipient} came again, though {first.site} had acknowledged it"
    for (token, recipient), messages in copies.items():
        if len(messages) > 1 and token not in evidence.ledger.repeated:
            yield f"token {token} for {recipient} came as {len(messages)} messages, though no client sent it twice"


def times_are_kept(evidence: Evidence) -> Iterator[str]:
    for pair in evidence.story:
        if pair[0] in evidence.accepted:
            name = f"{name_of(pair[0])} for {pair[1]}"
            yield from (f"{name} {what}" for what in _times_of_one(evidence, *pair))


def _times_of_one(evidence: Evidence, message: int, recipient: str) -> Iterator[str]:
    """What is wrong with the times at which one recipient was tried."""
    queue, accepted = evidence.config.queue, evidence.accepted[message]
    expiry = accepted.at + (queue.lifetime if evidence.sender(message) else queue.bounce_lifetime)
    # With others it waits for the attempts of the message that are under way.
    is_alone = detail(accepted, "recipients") == "1"
    due: float | None = accepted.at  # None: an operator's word counts
    is_exact = True  # else it waits for its site, which is told once: it goes when that answers, before or after `due`
    attempts = 0
    for event in evidence.story[message, recipient]:
        if event.kind in (Kind.RETRIED, Kind.RELEASED, Kind.HELD):
            due = None
        elif event.kind is Kind.ROUTED:
            late = event.at - due if due is not None and is_alone and is_exact else 0.0
            if late > CLAIMED_WITHIN and not evidence.was_broken(event.at - late - CLAIMED_WITHIN, event.at):
                yield f"was tried {late:.0f} s behind its time"
        elif event.kind in _DEFERRED or event.kind in TERMINAL:
            if due is not None and is_exact and event.at < due - TICK:
                yield f"was tried {due - event.at:.0f} s before its time"
            attempt = int(detail(event, "attempt") or 0)
            if attempt and attempt != attempts + 1:
                yield f"had attempt {attempt} behind attempt {attempts}"
            attempts = attempt or attempts
            if event.kind in _DEFERRED:
                due = float(detail(event, "due")) if detail(event, "due") else None
                is_exact = attempt > 0
                wait = queue.retry[min(attempts, len(queue.retry)) - 1] * (1 - queue.jitter)
                least = min(event.at + wait, expiry) if event.at < expiry else event.at + wait
                if attempt and due is not None and due < least - TICK:
                    yield f"is due again after {due - event.at:.0f} s"
    found = evidence.queued.get(message)
    row = found.recipients.get(recipient) if found is not None else None
    if row is not None and row.state == "queued" and due is not None:
        if is_exact and abs(row.due - due) > TICK:
            yield "is due at another time in the database than in the log"
        if row.attempts != attempts:
            yield f"had {attempts} attempts, the database has {row.attempts}"


def doubt_is_told(evidence: Evidence) -> Iterator[str]:
    """What a site took without our hearing of it is in doubt: by an event, and so for an operator."""
    for (message, recipient), arrivals in evidence.arrivals.items():
        story = evidence.story[message, recipient]
        doubts = sum(
            event.kind is Kind.IN_DOUBT or (event.kind in TERMINAL and DOUBT in detail(event, "reason"))
            for event in story
        )
        end = evidence.ended.get((message, recipient))
        taken = [each for each in arrivals if each.site != "mailbox"]
        if end is not None and end.kind is Kind.DELIVERED:
            taken = taken[:-1]
        taken = [each for each in taken if not evidence.is_unfinished(recipient, each.at)]
        if len(taken) > doubts:
            unheard = f"was taken {len(taken)} times unheard, and in doubt {doubts} times"
            yield f"{name_of(message)} for {recipient} {unheard}"


def nobody_is_forgotten(evidence: Evidence) -> Iterator[str]:
    end = evidence.result.end
    if evidence.was_broken(end - 2 * CLAIMED_WITHIN, end):
        return
    crowds = Counter(domain_of(each) for found in evidence.queued.values() for each in found.recipients)
    for message, found in evidence.queued.items():
        due = [row.due for row in found.recipients.values() if row.state == "queued"]
        if not found.is_claimed and due and (found.due is None or abs(found.due - min(due)) > TICK):
            yield f"{name_of(message)} is due at another time than its recipients"
        if not found.is_claimed and due and min(due) < end - CLAIMED_WITHIN:
            yield f"{name_of(message)} was due {end - min(due):.0f} s before the end, and nobody claimed it"
        for recipient, row in found.recipients.items():
            waits = evidence.patience(recipient) > 1.0
            allowed = OVERDUE_AFTER + (crowds[domain_of(recipient)] * STALLED_FOR if waits else 0.0)
            if row.state == "queued" and row.due < end - allowed:
                yield f"{name_of(message)} for {recipient} is stuck: it was due {end - row.due:.0f} s before the end"


def nothing_of_ours_raised(evidence: Evidence) -> Iterator[str]:
    # A full disk is no exception of ours; what it does to the spool is told as this one.
    is_full = any(fault.kind == "disk-full" for fault in evidence.result.scenario.faults)
    yield from (fault for fault in evidence.ledger.faults if not (is_full and "SpoolError" in fault))
    for event in evidence.ledger.events:
        if event.kind in (Kind.CRASHED, Kind.QUARANTINED):
            yield f"{name_of(event.message)} {event.kind.value}: {detail(event, 'reason')}"


def _all_arrivals(evidence: Evidence) -> Iterator[Arrival]:
    yield from evidence.ledger.arrivals
    for arrivals in evidence.arrivals.values():
        yield from (each for each in arrivals if each.site == "mailbox")

"""
The program, broken on purpose: each mutant is a fault that somebody could make, and the swarm must find it.

Owns: the mutants, and how each breaks the program for as long as its context lasts.
Never: changes a file, or leaves anything broken behind.

A new mutant is a function under `@mutant`, which gives patches of the production code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from mta.entry import QueuedRecipient, Report
from mta.envelope import Envelope
from mta.ids import spell
from mta.lookup import Answer
from mta.outcome import Failure, Outcome, Phase
from mta.policy import relay
from mta.policy.kept_places import KeptPlaces
from mta.queue import concluding
from mta.queue.bounces import Bouncer
from mta.queue.manager import QueueManager
from mta.queue.recording import Recorder
from mta.queue.schedule import Schedule
from mta.queue.sites import SiteWindow
from mta.queue.turns import Turns
from mta.reply import Reply
from mta.routing import mx
from mta.server.protocol import ServerProtocol
from mta.server.reception import Reception
from mta.smtp.client import ClientSession
from mta.smtp.dots import DotDecoder, DotEncoder
from mta.spool import chunks, storing
from mta.spool.content import StoredContent
from mta.spool.fresh import FreshContent
from mta.spool.schema import CHUNK_SIZE, SpoolConnection
from mta.spool.spool import Spool

Patch = Any  # what `unittest.mock.patch` makes; its type has no name


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault by its name; `patches` are made anew for each use."""

    name: str
    patches: Callable[[], tuple[Patch, ...]]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The program is broken inside."""
        with ExitStack() as stack:
            for each in self.patches():
                stack.enter_context(each)
            yield


MUTANTS: dict[str, Mutant] = {}


def mutant(make: Callable[[], Patch | tuple[Patch, ...]]) -> Callable[[], Patch | tuple[Patch, ...]]:
    """Declare a mutant; the name of the function is its name."""

    def patches() -> tuple[Patch, ...]:
        made = make()
        return made if isinstance(made, tuple) else (made,)

    name = make.__name__.replace("_", " ")
    MUTANTS[name] = Mutant(name, patches)
    return make


# -- Taking mail


@mutant
def reply_before_commit() -> Patch:
    """The client hears 250 while the message is still on its way to the disk."""

    def commit(self: ServerProtocol, reception: Reception, envelope: Envelope) -> None:
        before: list[Deferred[Any]] = []
        genuine_commit = reception.commit

        def remembered(*arguments: Any) -> Deferred[Any]:
            before.append(genuine_commit(*arguments))
            return Deferred()  # which nobody waits for

        with patch.object(Reception, "commit", lambda _self, *arguments: remembered(*arguments)):
            genuine(self, reception, envelope)
        claim = self._listener.queue.wants_claim()
        before[0].addCallbacks(lambda entry: self._listener.queue.accepted(entry, claim), lambda _fault: None)
        self._reply(self._current.queued(spell(reception.queue_id)))

    genuine = ServerProtocol._commit
    return patch.object(ServerProtocol, "_commit", commit)


@mutant
def refused_but_kept() -> Patch:
    """The client is told to try again, and the message stays in the spool all the same."""
    genuine = ServerProtocol._committed

    def committed(self: ServerProtocol, entry: Any, claim: bool) -> None:
        if entry.message & (1 << 7):  # every other one
            self._listener.queue.accepted(entry, claim)
            self._reply(self._current.failed())
        else:
            genuine(self, entry, claim)

    return patch.object(ServerProtocol, "_committed", committed)


@mutant
def relay_for_strangers() -> Patch:
    """Everybody may send anywhere."""
    return patch.object(relay.RelayPolicy, "is_trusted", lambda _self, _ip: True)


@mutant
def relay_for_strangers_who_write_percent_signs() -> Patch:
    """An address that asks the next host to relay on is taken for one of its domain."""
    return patch.object(relay, "_is_routed", lambda _local: False)


@mutant
def dots_held_by_the_decoder_are_lost() -> Patch:
    """What the server's decoder keeps for the next segment is forgotten."""
    genuine = DotDecoder.feed

    def feed(self: DotDecoder, data: bytes) -> bytes:
        if not self._implied:
            self._held = self._held.replace(b"\r\n.", b"\r\n")
        return genuine(self, data)

    return patch.object(DotDecoder, "feed", feed)


@mutant
def missing_chunks_are_not_missed() -> Patch:
    """A message is committed though the disk was full for a part of it, and no memory makes up for that."""

    def adopt(database: SpoolConnection, message: int, number: int, rest: bytes) -> None:
        database.execute("DELETE FROM staged WHERE message = ?", (message,))
        if rest:
            chunks.insert_chunk(database, message, number, rest)

    def ignore(self: Any, _fault: Any) -> None:
        self._chunk_stored(None)

    def keep_nothing(_self: Any, _message: int, _number: int, _data: bytes) -> None:
        pass

    return (
        patch.object(chunks, "adopt_chunks", adopt),
        patch("mta.spool.content.Receiving._chunk_failed", ignore),
        patch.object(FreshContent, "keep", keep_nothing),
    )


# -- Sending it


@mutant
def dot_state_lost_between_chunks() -> Patch:
    """Each piece of content is encoded as if no line began with it."""
    genuine = DotEncoder.feed

    def feed(self: DotEncoder, data: bytes) -> bytes:
        wire = genuine(self, data)
        self._at_line_start = False
        return wire

    finish = DotEncoder.finish

    def finished(self: DotEncoder) -> bytes:
        self._at_line_start = True  # content of a load ends with a line
        return finish(self)

    return patch.object(DotEncoder, "feed", feed), patch.object(DotEncoder, "finish", finished)


@mutant
def chunks_out_of_order() -> Patch:
    """The first two chunks of a message are read in the wrong order."""
    genuine = StoredContent.chunk

    def chunk(self: StoredContent, index: int) -> Deferred[bytes]:
        swapped = self._content is None and self.size > 2 * CHUNK_SIZE and index < 2
        return genuine(self, 1 - index if swapped else index)

    return patch.object(StoredContent, "chunk", chunk)


@mutant
def doubt_is_taken_for_delivery() -> Patch:
    """A connection that ends behind the final dot counts as a 250."""
    genuine = ClientSession._broken

    def broken(self: ClientSession, what: str) -> None:
        if not self.has_ended and self._in_doubt and self._progress is not None:
            self._progress.content_accepted(Reply(250, ("ok",)))
        genuine(self, what)

    return patch.object(ClientSession, "_broken", broken)


@mutant
def doubt_is_not_marked() -> Patch:
    """Nothing is written down before the final dot, so that nobody knows of the doubt that a crash leaves."""
    return patch.object(storing, "mark", lambda *_arguments: None)


@mutant
def a_451_is_final() -> Patch:
    """A temporary failure is taken for a permanent one."""
    return patch.object(Reply, "is_permanent", property(lambda self: self.code >= 500 or self.code == 451))


@mutant
def bounce_on_servfail() -> Patch:
    """A DNS that can't be asked is taken for one that says no."""

    def could_not_ask(domain: str, kind: str, answer: Answer) -> Failure:
        return Failure(f"cannot look up {kind} of {domain}: {answer.reason}", Phase.DNS)

    return patch.object(mx, "_could_not_ask", could_not_ask)


# -- The queue


@mutant
def a_recipients_outcome_is_forgotten() -> Patch:
    """Of several recipients the last one's outcome is not recorded."""
    genuine = Recorder.conclude

    def conclude(self: Recorder, active: Any, outcomes: Any, *site: Any) -> None:
        found = list(outcomes)
        genuine(self, active, found[:-1] if len(found) > 1 else found, *site)

    return patch.object(Recorder, "conclude", conclude)


@mutant
def outcome_by_position() -> Patch:
    """Outcomes are handed out in the order in which they came, not by address."""

    def by_position(
        outcomes: Mapping[Any, Outcome], recipients: list[QueuedRecipient]
    ) -> list[tuple[QueuedRecipient, Outcome]]:
        return list(zip(recipients, outcomes.values(), strict=False))

    return patch.object(concluding, "by_recipient", by_position)


@mutant
def claim_not_released() -> Patch:
    """A message that is deferred stays in the hands of the worker that had it."""
    genuine = storing.settle

    def settle(database: SpoolConnection, message: int, waits_for: str | None = None) -> float | None:
        (claim,) = database.execute("SELECT claim FROM messages WHERE id = ?", (message,)).fetchone()
        due = genuine(database, message, waits_for)
        database.execute("UPDATE messages SET claim = ? WHERE id = ?", (claim, message))
        return due

    return patch.object(storing, "settle", settle)


@mutant
def claims_of_the_dead_are_kept() -> Patch:
    """After a crash nobody takes over what the dead worker had claimed."""
    return patch.object(storing, "take_over", lambda *_arguments: None)


@mutant
def retry_clock_not_persisted() -> Patch:
    """When a recipient is due is known until the next start, and then it is due at once."""
    genuine = storing.take_over

    def take_over(database: SpoolConnection, *arguments: Any) -> None:
        genuine(database, *arguments)
        database.execute("UPDATE recipients SET due = (SELECT arrived FROM messages WHERE id = message)")
        database.execute("UPDATE messages SET due = arrived WHERE due IS NOT NULL")

    return patch.object(storing, "take_over", take_over)


@mutant
def attempts_not_persisted() -> Patch:
    """How often a recipient was tried is not written down, so that its wait never grows."""
    genuine = storing.record

    def record(database: SpoolConnection, report: Report, worker: int, unreadable: str | None = None) -> float | None:
        uncounted = tuple(replace(each, counts=False) for each in report.results)
        return genuine(database, replace(report, results=uncounted), worker, unreadable)

    return patch.object(storing, "record", record)


@mutant
def an_earlier_due_time_is_missed() -> Patch:
    """The timer of the queue is set already, so that what is due before it has to wait."""
    genuine = QueueManager._wake_at

    def wake_at(self: QueueManager, due: float) -> None:
        if self._timer is None or not self._timer.active():
            genuine(self, due)

    return patch.object(QueueManager, "_wake_at", wake_at)


@mutant
def limit_of_connections_ignored() -> tuple[Patch, ...]:
    """Any number of attempts for a site may run at once."""
    genuine = KeptPlaces.take
    return (
        patch.object(SiteWindow, "may_start", lambda self, now: not self.is_dead(now)),
        patch.object(KeptPlaces, "take", lambda self, site, _limit: genuine(self, site, 1 << 30)),
    )


@mutant
def one_site_holds_up_the_others() -> Patch:
    """There is one turn for all sites together."""
    genuine = Turns.__init__

    def init(self: Turns, limits: Any, _at_once: int, *more: Any) -> None:
        genuine(self, limits, 1, *more)

    return patch.object(Turns, "__init__", init)


@mutant
def expiry_too_early() -> Patch:
    """A message is given up after half its lifetime."""
    genuine = Schedule.expiry

    def expiry(self: Schedule, arrived: float, *, is_bounce: bool) -> float:
        return arrived + (genuine(self, arrived, is_bounce=is_bounce) - arrived) / 2

    return patch.object(Schedule, "expiry", expiry)


@mutant
def event_in_another_transaction() -> Patch:
    """What happened is written down behind the state that it changed."""

    def record(self: Spool, report: Report) -> Deferred[float | None]:
        without = replace(report, events=())
        recorded = self._writing.submit(lambda database: storing.record(database, without, self._worker))

        def wrote(due: float | None) -> Deferred[float | None]:
            written = self._writing.submit(lambda database: storing.write_events(database, report.events))
            return written.addCallback(lambda _done: due)

        return recorded.addCallback(wrote)

    return patch.object(Spool, "record", record)


# -- Reports


@mutant
def bounce_of_a_bounce() -> Patch:
    """What fails of a message without a sender is reported to the postmaster, and that as well."""
    genuine = Bouncer.report

    def report(self: Bouncer, queue_id: int, entry: Any, *more: Any) -> Any:
        return genuine(self, queue_id, replace(entry, sender=entry.sender or self.report_from), *more)

    return patch.object(Bouncer, "report", report)


@mutant
def report_in_another_transaction() -> Patch:
    """The report to the sender is queued behind the failure that it tells of."""

    def record(self: Spool, report: Report) -> Deferred[float | None]:
        bounce = report.bounce
        without = replace(report, bounce=None)
        recorded = self._writing.submit(lambda database: storing.record(database, without, self._worker))
        if bounce is None:
            return recorded

        def queue(_due: float | None) -> Deferred[float | None]:
            claim = self._worker if report.claims_bounce else None
            queued = self._writing.submit(lambda database: storing.insert_whole(database, bounce, claim))
            return queued.addCallback(lambda _done: None if report.claims_bounce else bounce.arrived)

        return recorded.addCallback(queue)

    return patch.object(Spool, "record", record)


@mutant
def the_sender_is_not_told() -> Patch:
    """A failure is recorded, and no report made of it."""
    genuine = storing.record

    def record(database: SpoolConnection, report: Report, worker: int, unreadable: str | None = None) -> float | None:
        return genuine(database, replace(report, bounce=None), worker, unreadable)

    return patch.object(storing, "record", record)

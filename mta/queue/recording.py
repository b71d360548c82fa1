"""
Write down what became of a message, and see that it sticks.

Owns: the reports to the spool, the bounce that goes with the last of them, the count of our own crashes.
Never: starts an attempt. `retired` is called when a message has left the window and its claim is given back.
Fails: never; while the spool fails a report is repeated, for what was delivered must not go out twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure as Fault

from mta.address import Address
from mta.entry import NewMessage, QueuedRecipient, Report, Result
from mta.events import Event
from mta.ids import spell
from mta.interfaces import ISpool
from mta.outcome import Deferral, Delivered, Outcome
from mta.queue import concluding
from mta.queue.bounces import Bouncer
from mta.queue.concluding import Moment
from mta.queue.schedule import Schedule
from mta.queue.window import Active, Undelivered
from mta.spool import SpoolError

# Seconds until the spool is asked again after it failed.
SPOOL_RETRY = 5.0


class Recorder:
    """Records for the queue manager; `under_way` counts the reports that are not on disk yet."""

    _log = Logger()

    def __init__(
        self,
        *,
        spool: ISpool,
        bouncer: Bouncer,
        schedule: Schedule,
        new_id: Callable[[], int],
        retired: Callable[[Active, float | None], None],
        clock: IReactorTime,
        rng: random.Random,
    ) -> None:
        self._spool = spool
        self._bouncer = bouncer
        self._schedule = schedule
        self._new_id = new_id
        self._retired = retired
        self._clock = clock
        self._rng = rng
        self.under_way = 0

    def conclude(self, active: Active, outcomes: Iterable[tuple[QueuedRecipient, Outcome]]) -> None:
        """
        One job of a message is over, with these outcomes.

        What the sender must be told is kept for the last job, so that one report tells all of it.
        """
        moment = self._moment(active)
        results: list[Result] = []
        events: list[Event] = []
        for recipient, outcome in outcomes:
            if isinstance(outcome, Delivered):
                result, event = concluding.delivered(moment, recipient, outcome)
            elif concluding.is_final(outcome, moment):
                active.undelivered.append(Undelivered(recipient, outcome))
                continue
            else:
                assert isinstance(outcome, Deferral)
                result, event = concluding.deferred(moment, recipient, outcome, self._schedule, self._rng)
            results.append(result)
            events.append(event)
        self.job_done(active, results, events)

    def postpone(self, active: Active, recipients: Iterable[QueuedRecipient], due: float, reason: str) -> None:
        """One job of a message did not get its turn: back to the spool with it until `due`."""
        moment = self._moment(active)
        pairs = [concluding.postponed(moment, recipient, due, reason) for recipient in recipients]
        self.job_done(active, [result for result, _event in pairs], [event for _result, event in pairs])

    def job_done(self, active: Active, results: list[Result], events: list[Event]) -> None:
        """One job (or the planning) of a message is over: record it, and with the last one the bounce."""
        active.jobs -= 1
        is_last = active.jobs == 0
        ends_here = is_last and not active.undelivered and not active.crash
        if results or ends_here:
            # Events of the planning ride along with the first result: no transaction of their own.
            together = (*active.events, *events)
            active.events = []
            self._record(active, Report(active.entry.message, tuple(results), together, keep_claim=not ends_here))
        if is_last and active.undelivered:
            self._report_undelivered(active)
        elif is_last and active.crash:
            self._count_crash(active)

    def crash(self, active: Active, fault: Fault) -> None:
        """Handling the message raised, and nothing of it is under way: count it and give it back."""
        self.note_crash(active, fault)
        self._count_crash(active)

    def note_crash(self, active: Active, fault: Fault) -> None:
        """An attempt raised: the message is counted against when its last job is done."""
        self._log.failure("{id}: handling it failed", failure=fault, id=spell(active.entry.message))
        active.crash = f"{fault.type.__name__ if fault.type else 'error'}: {fault.value}"

    def _moment(self, active: Active) -> Moment:
        return Moment(active.entry.message, active.entry.arrived, self._clock.seconds(), active.expiry)

    def _record(self, active: Active, report: Report) -> None:
        self.under_way += 1
        recorded = self._spool.record(report)
        recorded.addCallback(self._recorded, active, report)
        recorded.addErrback(self._record_failed, active, report)

    def _recorded(self, _done: None, active: Active, report: Report) -> None:
        self.under_way -= 1
        if not report.keep_claim:
            now = self._clock.seconds()
            waiting = [result.due for result in report.results if not result.state.is_final]
            if report.bounce is not None:
                waiting.append(now)
            self._retired(active, min([*waiting, *([active.due] if active.due else [])], default=None))
        else:
            self._remember_due(active, report)

    def _remember_due(self, active: Active, report: Report) -> None:
        due = min((result.due for result in report.results if not result.state.is_final), default=0.0)
        if due and (not active.due or due < active.due):
            active.due = due

    def _record_failed(self, fault: Fault, active: Active, report: Report) -> None:
        self.under_way -= 1
        if fault.check(SpoolError) is None:
            self.crash(active, fault)
            return
        self._log.error(
            "{id}: what became of it can't be recorded, again in {wait} s: {why}",
            id=spell(report.message),
            wait=SPOOL_RETRY,
            why=fault.value,
        )
        self._clock.callLater(SPOOL_RETRY, self._record, active, report)

    def _report_undelivered(self, active: Active) -> None:
        """Record what failed for good together with the report to its sender, in one transaction."""
        entry = active.entry
        if entry.sender is None:  # RFC 5321 4.5.5, 6.1: no report on a report
            self._record_undelivered(None, active)
            return
        self.under_way += 1
        made = Deferred.fromCoroutine(self._make_bounce(active, entry.sender))
        made.addCallback(self._record_undelivered, active)
        made.addErrback(lambda fault: self.crash(active, fault))

    async def _make_bounce(self, active: Active, sender: Address) -> NewMessage:
        try:
            content = self._spool.content(active.entry)
            now = self._clock.seconds()
            return await self._bouncer.report(self._new_id(), active.entry, sender, active.undelivered, content, now)
        finally:
            self.under_way -= 1

    def _record_undelivered(self, bounce: NewMessage | None, active: Active) -> None:
        moment = self._moment(active)
        dsn = spell(bounce.message) if bounce else None
        pairs = [concluding.undelivered(moment, item.recipient, item.outcome, dsn) for item in active.undelivered]
        results = tuple(result for result, _event in pairs)
        events = (*active.events, *(event for _result, event in pairs))
        active.events = []
        self._record(active, Report(active.entry.message, results, events, bounce=bounce))

    def _count_crash(self, active: Active) -> None:
        now = self._clock.seconds()
        tried = max((recipient.attempts for recipient in active.entry.recipients), default=0)
        due = self._schedule.next_try(now, tried + 1, active.expiry, self._rng)
        self.under_way += 1
        counted = self._spool.crashed(active.entry.message, active.crash, now, due)
        counted.addCallbacks(self._crash_counted, self._count_failed, callbackArgs=(active, due), errbackArgs=(active,))

    def _crash_counted(self, _quarantined: bool, active: Active, due: float) -> None:
        self.under_way -= 1
        self._retired(active, due)

    def _count_failed(self, fault: Fault, active: Active) -> None:
        self.under_way -= 1
        self._log.error("{id}: its crash can't be recorded: {why}", id=spell(active.entry.message), why=fault.value)
        self._clock.callLater(SPOOL_RETRY, self._count_crash, active)

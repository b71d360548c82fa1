"""
Write down what became of a message, and see that it sticks.

Owns: the reports to the spool, the message to the sender that goes with some of them, the count of our own crashes.
Never: starts an attempt.
Fails: never; while the spool fails a report is repeated, for what was delivered must not go out twice.

Reports of one message go one after the other, and what happens meanwhile goes with the next. The last one gives the
claim back, and then nothing may be missing in the spool: who is still queued there is tried again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure as Fault

from mta.entry import QueuedRecipient, Report, Result
from mta.events import Event
from mta.ids import spell
from mta.interfaces import IQueue, ISpool
from mta.message.dsn_status import Action
from mta.outcome import Deferral, Delivered, Outcome, Phase
from mta.queue import concluding
from mta.queue.bounces import Bouncer
from mta.queue.concluding import Moment
from mta.queue.schedule import Schedule
from mta.queue.window import Active, News
from mta.spool import SpoolError

# Seconds until the spool is asked again after it failed.
SPOOL_RETRY = 5.0


class Recorder:
    """
    Records for the queue manager; `under_way` counts the reports that are not on disk yet.

    `queue` takes the messages to senders on, as it does those that come from outside. `recorded` is called with each
    report that is on disk: the message, when something of it is due (None for nothing), and whether it has left the
    window and its claim is given back. `hold_doubt`: what is in doubt waits for an operator.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        spool: ISpool,
        bouncer: Bouncer,
        schedule: Schedule,
        queue: IQueue,
        recorded: Callable[[Active, float | None, bool], None],
        clock: IReactorTime,
        rng: random.Random,
        hold_doubt: bool,
    ) -> None:
        self._spool = spool
        self._bouncer = bouncer
        self._schedule = schedule
        self._queue = queue
        self._tell = recorded
        self._clock = clock
        self._rng = rng
        self._hold_doubt = hold_doubt
        self.under_way = 0

    def conclude(
        self, active: Active, outcomes: Iterable[tuple[QueuedRecipient, Outcome]], site: str | None = None
    ) -> None:
        """
        One job of a message is over, with these outcomes; `site` was asked, None: nobody was.

        The bad news is kept for the last job, so that one report tells all of it. What was delivered is recorded at
        once, or a crash would have it sent again; who asked to be told of that gets a report for each job.
        """
        moment = self._moment(active, site)
        dues: dict[int, float] = {}  # by attempt: recipients that went together come back together
        results: list[Result] = []
        events: list[Event] = []
        for recipient, outcome in outcomes:
            if isinstance(outcome, Delivered):
                result, event = concluding.delivered(moment, recipient, outcome)
                action = concluding.confirmed(recipient, outcome)
                if action is not None:
                    active.good_news.append(News(recipient, action, outcome))
            elif isinstance(outcome, Deferral) and outcome.in_doubt and self._hold_doubt:
                # Also after its lifetime: a report that it failed could be as wrong as a second copy.
                result, event = concluding.deferred(moment, recipient, outcome, None)
            elif concluding.is_final(outcome, moment):
                active.bad_news.append(News(recipient, Action.FAILED, outcome))
                continue
            else:
                assert isinstance(outcome, Deferral)
                attempt = recipient.attempts + 1
                if attempt not in dues:
                    dues[attempt] = self._next_try(moment, attempt)
                if concluding.is_late(recipient, moment):
                    active.bad_news.append(News(recipient, Action.DELAYED, outcome, dues[attempt]))
                    continue
                result, event = concluding.deferred(moment, recipient, outcome, dues[attempt])
            results.append(result)
            events.append(event)
        self.job_done(active, results, events)

    def postpone(self, active: Active, recipients: Iterable[QueuedRecipient], due: float, reason: str | None) -> None:
        """
        One job of a message did not get its turn: back to the spool with it until `due`.

        Without a `reason` nothing is told of it, and the last reply stays what it was.
        """
        moment = self._moment(active)
        results: list[Result] = []
        events: list[Event] = []
        for recipient in recipients:
            if reason is not None and concluding.is_late(recipient, moment):
                outcome = Deferral(reason, Phase.QUEUE)
                active.bad_news.append(News(recipient, Action.DELAYED, outcome, due, counts=False))
                continue
            result, event = concluding.postponed(
                moment, recipient, due, recipient.last_reply if reason is None else reason
            )
            results.append(result)
            # Told once: a site that is dead for days would add an event for each message that waits for it, every hour.
            if reason is not None and recipient.last_reply != reason:
                events.append(event)
        self.job_done(active, results, events)

    def job_done(self, active: Active, results: list[Result], events: list[Event]) -> None:
        """One job (or the planning) of a message is over: record it, and with the last one the bounce."""
        active.jobs -= 1
        active.results += results
        active.events += events
        if not active.is_reporting:
            self._report(active)

    def crash(self, active: Active, fault: Fault) -> None:
        """Planning the message raised: count it and give it back."""
        self.note_crash(active, fault)
        self._report(active)

    def note_crash(self, active: Active, fault: Fault) -> None:
        """Something of ours raised: the message is counted against when its last job is done."""
        self._log.failure("{id}: handling it failed", failure=fault, id=spell(active.entry.message))
        active.crash = f"{fault.type.__name__ if fault.type else 'error'}: {fault.value}"

    def _moment(self, active: Active, site: str | None = None) -> Moment:
        entry = active.entry
        notice = math.inf if entry.sender is None else self._schedule.notice(entry.arrived)
        return Moment(entry.message, entry.arrived, self._clock.seconds(), active.expiry, notice, site)

    def _next_try(self, moment: Moment, attempts: int) -> float:
        return self._schedule.next_try(moment.now, attempts, moment.expiry, self._rng)

    def _report(self, active: Active) -> None:
        """Begin the next report on a message, if there is something to tell."""
        is_last = active.jobs == 0
        if active.good_news or (is_last and active.bad_news):
            self._begin(active)
            made = Deferred.fromCoroutine(self._with_news(active, is_last))
            made.addCallbacks(self._record, self._report_crashed, callbackArgs=(active,), errbackArgs=(active,))
        elif is_last and active.crash and not active.results:
            self._begin(active)
            self._count_crash(active)
        elif is_last or active.results:
            # Events of the planning ride along with the first result: no transaction of their own.
            self._begin(active)
            self._record(self._gathered(active), active)

    def _begin(self, active: Active) -> None:
        active.is_reporting = True
        self.under_way += 1

    def _end(self, active: Active, due: float | None, *, has_left: bool) -> None:
        active.is_reporting = False
        self.under_way -= 1
        if not has_left:
            self._report(active)
        self._tell(active, due, has_left)

    def _gathered(self, active: Active) -> Report:
        """The report on what has gathered. A crash is still to be counted: that gives the claim back then."""
        results, events = active.results, active.events
        active.results, active.events = [], []
        return Report(
            active.entry.message,
            tuple(results),
            tuple(events),
            active.has_more,
            size=active.entry.size,
            waits_for=active.waits_for,
        )

    def _record(self, report: Report, active: Active) -> None:
        recorded = self._spool.record(report)
        recorded.addCallbacks(
            self._recorded, self._record_failed, callbackArgs=(report, active), errbackArgs=(report, active)
        )
        recorded.addErrback(lambda fault: self._log.failure("what follows a report", failure=fault))

    def _recorded(self, due: float | None, report: Report, active: Active) -> None:
        if report.bounce is not None and report.claims_bounce:
            self._queue.accepted(report.bounce.entry(), True)
        self._end(active, due, has_left=not report.keep_claim)

    def _record_failed(self, fault: Fault, report: Report, active: Active) -> None:
        if fault.check(SpoolError) is None:
            self._report_crashed(fault, active)
            return
        self._log.error(
            "{id}: what became of it can't be recorded, again in {wait} s: {why}",
            id=spell(report.message),
            wait=SPOOL_RETRY,
            why=fault.value,
        )
        self._clock.callLater(SPOOL_RETRY, self._record, report, active)

    def _report_crashed(self, fault: Fault, active: Active) -> None:
        self.note_crash(active, fault)
        self._end(active, None, has_left=False)

    async def _with_news(self, active: Active, is_last: bool) -> Report:
        """The report on what has gathered, with the message to the sender that goes out in the same transaction."""
        entry, moment = active.entry, self._moment(active)
        good_news, active.good_news = active.good_news, []
        bad_news: list[News] = []
        if is_last:
            bad_news, active.bad_news = active.bad_news, []
        gathered = self._gathered(active)
        news, content = good_news + bad_news, self._spool.content(entry)
        try:
            told = await self._bouncer.report(self._queue.new_id(), entry, news, content, moment.now, active.expiry)
        except Exception:
            # A bug of ours: whom it concerned is tried again, but what was delivered is a fact.
            active.results[:0] = gathered.results
            active.events[:0] = gathered.events
            raise
        dsn = spell(told.message.message) if told.message else None
        pairs = [
            concluding.bad_news(moment, item, dsn if item.recipient.address in told.addresses else None, told.silence)
            for item in bad_news
        ]
        return replace(
            gathered,
            results=(*gathered.results, *(result for result, _event in pairs)),
            events=(*gathered.events, *(event for _result, event in pairs)),
            keep_claim=active.has_more,  # other jobs may have ended meanwhile
            bounce=told.message,
            # Handed on in memory, it costs neither the search for what is due nor the reading of its content.
            claims_bounce=self._queue.wants_claim(),
            expansion_told=any(item.action is Action.EXPANDED for item in good_news),
        )

    def _count_crash(self, active: Active) -> None:
        moment = self._moment(active)
        tried = max((recipient.attempts for recipient in active.entry.recipients), default=0)
        due = self._next_try(moment, tried + 1)
        counted = self._spool.crashed(active.entry.message, active.crash, moment.now, due)
        counted.addCallbacks(self._crash_counted, self._count_failed, callbackArgs=(active,), errbackArgs=(active,))

    def _crash_counted(self, due: float | None, active: Active) -> None:
        self._end(active, due, has_left=True)

    def _count_failed(self, fault: Fault, active: Active) -> None:
        self._log.error("{id}: its crash can't be recorded: {why}", id=spell(active.entry.message), why=fault.value)
        self._clock.callLater(SPOOL_RETRY, self._count_crash, active)

"""
The queue manager: what is due goes out, what became of it is recorded, what is deferred comes back.

Owns: the active window over the spool, the life of a message in it, the timer of the next due time.
Never: speaks SMTP, asks the DNS, reads a wall clock: all of these are arguments.
Fails: never for one message; what raises is deferred and, at the third time, quarantined.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure as Fault
from zope.interface import implementer

from mta.address import Address
from mta.entry import Delivery, Entry, QueuedRecipient
from mta.ids import QueueIds
from mta.interfaces import IDeliveryAgent, IDestinations, IQueue, ISpool, ITlsPolicies
from mta.outcome import Deferral, Outcome, Phase, judge_exception
from mta.queue import concluding
from mta.queue.backlog import Backlog
from mta.queue.bounces import Bouncer
from mta.queue.forwarding import Senders, planner
from mta.queue.planning import Plan, Routes
from mta.queue.recording import SPOOL_RETRY, Recorder
from mta.queue.schedule import Schedule
from mta.queue.sites import SiteLimits
from mta.queue.turns import Ending, Places, SiteQueue, Turns
from mta.queue.window import Active, Job

# Messages claimed in one transaction: the writer serves new mail in between.
CLAIM_AT_ONCE = 500
# Above this share of the window new mail is left to the spool, so that what is older gets its room.
NEW_MAIL_SHARE = 0.8
# A site may fill this share of a nearly full window; what comes after that waits in the spool.
SITE_SHARE = 0.5
# Bounds, in seconds, on how long it waits there.
SHORTEST_POSTPONEMENT, LONGEST_POSTPONEMENT = 5.0, 300.0
# Full, the window is filled again when this share of it is used: a claim for each place would cost a commit each.
REFILL_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Messages and recipients in the window; attempts at once; recipients in a transaction; octets of content kept."""

    active_messages: int
    active_recipients: int
    deliveries: int
    recipients_per_transaction: int
    message_cache: int


@implementer(IQueue)
class QueueManager:
    """
    See the module. `start` after the spool is open, `stop` before it closes.

    `places` are those of the sites over all workers; `others` is called where more is due than there is room for here.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        spool: ISpool,
        agent: IDeliveryAgent,
        router: Routes,
        destinations: IDestinations,
        schedule: Schedule,
        site_limits: SiteLimits,
        limits: QueueLimits,
        bouncer: Bouncer,
        ids: QueueIds,
        clock: IReactorTime,
        rng: random.Random,
        hold_doubt: bool = False,
        places: Places | None = None,
        others: Callable[[], None] = lambda: None,
        tls: ITlsPolicies | None = None,
        senders: Senders | None = None,
    ) -> None:
        self._others = others
        self._spool = spool
        self._agent = agent
        self._schedule = schedule
        self._limits = limits
        self._ids = ids
        self._clock = clock
        self._rng = rng
        self._planner = planner(router, destinations, limits.recipients_per_transaction, tls, senders)
        self._turns = Turns(
            site_limits, limits.deliveries, clock.seconds, self._start, self._set_aside, places, clock.callLater
        )
        self._recorder = Recorder(
            spool=spool,
            bouncer=bouncer,
            schedule=schedule,
            queue=self,
            recorded=self._recorded,
            clock=clock,
            rng=rng,
            hold_doubt=hold_doubt,
        )
        self._backlog = Backlog(spool, schedule, clock, rng, self._fetch)
        self._actives: dict[int, Active] = {}
        self._recipients = 0
        self._cached = 0
        self._fetching = False
        self._more_waits = False  # the spool has more that is due than the window had room for
        self._timer: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None
        self._heir: QueueManager | None = None

    @property
    def active(self) -> int:
        """Messages in the window."""
        return len(self._actives)

    @property
    def running(self) -> int:
        """Attempts under way."""
        return self._turns.running

    # What others ask of it: IQueue

    def new_id(self) -> int:
        return self._ids.next(self._clock.seconds())

    def wants_claim(self) -> bool:
        if self._heir is not None:
            return self._heir.wants_claim()
        return (
            self._stopped is None
            and len(self._actives) < self._limits.active_messages * NEW_MAIL_SHARE
            and self._recipients < self._limits.active_recipients * NEW_MAIL_SHARE
        )

    def accepted(self, entry: Entry, claimed: bool) -> None:
        if self._heir is not None:  # of a session that was in the middle of a message
            self._heir.accepted(entry, claimed)
            return
        if not claimed:
            self.look()
            if not self.wants_claim():
                self._others()
            return
        if entry.content is not None:
            if self._cached + entry.size > self._limits.message_cache:
                entry.content = None
            else:
                self._cached += entry.size
        self._admit(entry)

    def withdraw(self, pairs: Iterable[tuple[int, str]]) -> None:
        concerned = set()
        for message, address in pairs:
            active = self._actives.get(message)
            if active is not None:
                active.withdrawn.add(address)
                concerned.add(active)
        for job in self._turns.withdraw(concerned) if concerned else ():
            self._recorder.job_done(job.active, [], [])

    def due_changed(self) -> None:
        self._turns.forgive()
        self._fetch()

    def look(self) -> None:
        """Others have left something in the spool that is due: take it where there is room."""
        self._more_waits = True
        self._refill()

    # The window over the spool

    def start(self) -> None:
        """Begin with what the spool has that is due."""
        self._fetch()

    def stop(self) -> Deferred[None]:
        """Start nothing more; fires when no attempt is under way and all is recorded. What waits stays in the spool."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._turns.stop()
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
            self._look_whether_quiet()
        return self._stopped

    def hand_over(self, heir: QueueManager) -> Deferred[None]:
        """
        Begin nothing more, and give what waits back to the spool, for `heir` to take; fires when nothing is left here.

        Attempts under way go on for as long as they take. What sessions still hand in here is for `heir`, too.
        """
        self._heir = heir
        stopped = self.stop()
        for job in self._turns.clear():
            self._give_back(job)
        return stopped

    def _give_back(self, job: Job) -> None:
        self._recorder.postpone(job.active, job.recipients, self._clock.seconds(), None)

    def _look_whether_quiet(self) -> None:
        stopped = self._stopped
        if stopped is None or stopped.called or self._turns.running or self._recorder.under_way:
            return
        if self._heir is not None and self._actives:
            return
        stopped.callback(None)

    def _wake_at(self, due: float) -> None:
        """Look into the spool at `due`, or before."""
        if self._heir is not None:
            self._heir._wake_at(due)
            return
        if self._stopped is not None:
            return
        now = self._clock.seconds()
        due = max(due, now)
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= due:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(due - now, self._fetch)

    def _refill(self) -> None:
        if (
            self._more_waits
            and len(self._actives) <= self._limits.active_messages * REFILL_SHARE
            and self._recipients <= self._limits.active_recipients * REFILL_SHARE
        ):
            self._fetch()

    def _fetch(self) -> None:
        """Claim what is due, as far as there is room."""
        self._more_waits = True
        # A message has one recipient at least: only the last claim before the limit of recipients may pass it.
        room = min(
            CLAIM_AT_ONCE,
            self._limits.active_messages - len(self._actives),
            self._limits.active_recipients - self._recipients,
        )
        if self._fetching or self._stopped is not None or self._backlog.is_busy:
            return
        if room <= 0:
            self._others()
            return
        if self._clock.seconds() < self._backlog.rest_until:
            self._wake_at(self._backlog.rest_until)
            return
        self._fetching = True
        self._more_waits = False
        claimed = self._spool.claim(self._clock.seconds(), room)
        claimed.addCallback(self._fetched, room)
        claimed.addErrback(self._fetch_failed)

    def _fetched(self, entries: list[Entry], room: int) -> Deferred[None] | None:
        self._fetching = False
        self._backlog.fetched()
        for entry in entries:
            self._admit(entry)
        if len(entries) >= room or self._more_waits:
            self._more_waits = True
            self._refill()
            if not self._fetching:  # the rest waits for room here, and there may be room elsewhere
                self._others()
            return None
        return self._spool.next_due().addCallback(self._next_due_known)

    def _next_due_known(self, due: float | None) -> None:
        if due is not None:
            self._wake_at(due)

    def _fetch_failed(self, fault: Fault) -> None:
        self._fetching = False
        self._log.error(
            "the spool can't be read, it is asked again in {wait} s: {why}", wait=SPOOL_RETRY, why=fault.value
        )
        self._wake_at(self._clock.seconds() + SPOOL_RETRY)

    def _recorded(self, active: Active, due: float | None, has_left: bool) -> None:
        """A report on a message is on disk: something of it is due then, and it may have left the window."""
        if has_left:
            entry = self._actives.pop(active.entry.message).entry
            self._recipients -= len(entry.recipients)
            if entry.content is not None:
                self._cached -= entry.size
            self._backlog.recorded(active, others=self._turns.running > 0)
        if due is not None:
            self._wake_at(due)
        self._refill()
        self._look_whether_quiet()

    # One message

    def _admit(self, entry: Entry) -> None:
        """Take a claimed message into the window and plan it."""
        active = Active(entry, self._schedule.expiry(entry.arrived, is_bounce=entry.sender is None or entry.tls_report))
        self._actives[entry.message] = active
        self._recipients += len(entry.recipients)
        plan = maybeDeferred(self._planner.plan, active, self._clock.seconds())
        plan.addCallbacks(self._carry_out, lambda fault: self._recorder.crash(active, fault), callbackArgs=(active,))
        plan.addErrback(lambda fault: self._log.failure("the start of a message", failure=fault))

    def _carry_out(self, plan: Plan, active: Active) -> None:
        active.jobs = len(plan.jobs) + 1  # the planning counts as one, so that the last job is known as the last
        active.good_news = concluding.expanded(active.entry)
        self._recorder.conclude(active, plan.nowhere)
        for job in plan.jobs:
            self._queue(job)

    def _queue(self, job: Job) -> None:
        if self._heir is not None:
            self._give_back(job)
            return
        site = self._turns.site(job.destination.site)
        crowded = len(self._actives) >= self._limits.active_messages * NEW_MAIL_SHARE
        if crowded and len(site.waiting) >= self._limits.active_messages * SITE_SHARE:
            wait = min(max(site.expected_wait(), SHORTEST_POSTPONEMENT), LONGEST_POSTPONEMENT)
            due = self._clock.seconds() + wait * self._rng.uniform(0.5, 1.0)
            reason = f"many messages wait for {site.name} before this one"
            self._recorder.postpone(job.active, job.recipients, due, reason)
        else:
            self._turns.add(job)

    def _set_aside(self, site: SiteQueue, jobs: list[Job]) -> None:
        """
        The site is dead: its jobs wait in the spool until it is asked again.

        That is no attempt. A message whose lifetime is over ends by one that was made after it was over, its own or
        another's: the dead mark alone delays, it never expires.
        """
        for job in jobs:
            self._backlog.set_aside(job.active)
            if site.silence is not None and site.silent_at >= job.active.expiry:
                self._recorder.conclude(job.active, [(recipient, site.silence) for recipient in job.recipients])
            else:
                reason = f"{site.name} does not answer; it is asked again later"
                self._recorder.postpone(job.active, job.recipients, self._backlog.put_off(site, job), reason)

    # One job

    def _start(self, job: Job) -> None:
        """Its turn has come."""
        entry = job.active.entry
        job.began = self._clock.seconds()
        if job.active.withdrawn:
            job.withdraw()
        routed = concluding.routed(job)
        if not job.recipients:
            self._turns.ended(job, Ending.OUR_FAULT)
            self._recorder.job_done(job.active, [], [])
            return
        job.active.events += routed
        delivery = Delivery(
            message=entry.message,
            arrived=entry.arrived,
            envelope=job.envelope(),
            content=self._spool.content(entry),
            destination=job.destination,
            mark=lambda addresses, host: self._mark(job, addresses, host),
            alone=len(entry.recipients) == 1,
        )
        attempt = maybeDeferred(self._agent.deliver, delivery).addCallback(concluding.by_recipient, job.recipients)
        attempt.addCallbacks(self._attempt_ended, self._attempt_crashed, callbackArgs=(job,), errbackArgs=(job,))
        attempt.addErrback(lambda fault: self._log.failure("the end of an attempt", failure=fault))

    def _mark(self, job: Job, addresses: Sequence[Address], host: str) -> Deferred[None]:
        job.marked.update(addresses)
        return self._spool.mark(job.active.entry.message, addresses, host)

    def _attempt_ended(self, found: list[tuple[QueuedRecipient, Outcome]], job: Job) -> None:
        self._recorder.conclude(job.active, found, job.destination.site)
        ending = concluding.ending_of([outcome for _recipient, outcome in found])
        silence = next((outcome for _recipient, outcome in found if isinstance(outcome, Deferral)), None)
        site = self._turns.ended(job, ending, silence)
        if ending is Ending.ANSWERED and self._stopped is None:
            self._backlog.answered(site)
        self._look_whether_quiet()

    def _attempt_crashed(self, fault: Fault, job: Job) -> None:
        """A bug of ours: the recipients are deferred, and the message is counted against."""
        self._recorder.note_crash(job.active, fault)
        trouble = judge_exception(fault.value or RuntimeError(), Phase.QUEUE)
        outcomes: list[tuple[QueuedRecipient, Outcome]] = [
            (recipient, trouble.doubted() if recipient.address in job.marked else trouble)
            for recipient in job.recipients
        ]
        self._recorder.conclude(job.active, outcomes)
        self._turns.ended(job, Ending.OUR_FAULT)
        self._look_whether_quiet()

"""A queue manager on a memory spool, with a clock, an agent that answers as told and destinations from a table."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from mta.address import Address, parse_address
from mta.destination import Destination, NextHop, Route, Transport
from mta.entry import Delivery
from mta.envelope import Body, Envelope, Notify, Origin, Recipient, RequireTls, Ret
from mta.events import Event
from mta.ids import QueueIds
from mta.interfaces import IDeliveryAgent, IDestinations, ITlsPolicies
from mta.outcome import Deferral, Delivered, Failure, Outcome, Phase, Scope
from mta.queue.bounces import Bouncer
from mta.queue.forwarding import Senders
from mta.queue.manager import QueueLimits, QueueManager
from mta.queue.schedule import Schedule
from mta.queue.sites import SiteLimits
from mta.spool import schema
from mta.spool.spool import Spool, memory_spool

START = 1_000_000.0
ALICE = parse_address("alice@sender.test")
DELIVERED = Delivered("mx.test[192.0.2.1]:25")
REFUSED = Failure("mx.test said: 550 5.1.1 no", Phase.RCPT, "mx.test", None, "5.1.1")
LATER = Deferral("mx.test said: 450 4.2.1 later", Phase.RCPT, Scope.RECIPIENT, "mx.test", None, "4.2.1")
SILENT = Deferral("mx.test: connection refused", Phase.CONNECT, Scope.SITE, "mx.test", None, "4.4.1")
OUR_FAULT = Deferral("disk full", Phase.STORE, Scope.OURSELVES, None, None, "4.3.1")
NO_DNS = Deferral("SERVFAIL", Phase.DNS, Scope.OURSELVES, None, None, "4.4.3")


def notified(address: str, *when: Notify, orcpt: str = "") -> Recipient:
    """A recipient whose sender said NOTIFY."""
    return Recipient(parse_address(address, utf8=True), frozenset(when), orcpt)


Answer = Callable[[Delivery], "Outcome | Mapping[Address, Outcome] | Deferred[Mapping[Address, Outcome]]"]


@implementer(IDeliveryAgent)
class ScriptedAgent:
    """Answers each delivery as `answers[site]` says, else with `default`; remembers all it was asked."""

    def __init__(self) -> None:
        self.default: Answer = lambda _delivery: DELIVERED
        self.answers: dict[str, Answer] = {}
        self.asked: list[Delivery] = []

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        self.asked.append(delivery)
        answer = self.answers.get(delivery.destination.site, self.default)(delivery)
        if isinstance(answer, Deferred):
            return answer
        if isinstance(answer, Mapping):
            return succeed(answer)
        return succeed(dict.fromkeys(delivery.recipients, answer))

    def stop(self) -> Deferred[None]:
        return succeed(None)


@implementer(IDestinations)
class TableOfDestinations:
    """Each domain is its own site, but for what stands in `table`."""

    def __init__(self) -> None:
        self.table: dict[str, Destination | Deferral | Failure] = {}
        self.delayed: dict[str, Deferred[Destination | Deferral | Failure]] = {}

    def locate(
        self, next_hop: NextHop, domain: str
    ) -> Destination | Deferral | Failure | Deferred[Destination | Deferral | Failure]:
        if domain in self.delayed:
            return self.delayed[domain]
        return self.table.get(domain, Destination(next_hop, domain))


class MXRouter:
    """Every address goes by MX."""

    def route(self, address: Address) -> Route:
        del address
        return Route(NextHop(Transport.MX), "MX lookup")


class World:
    """Everything around one manager; `restart` makes a new one on what the spool holds."""

    def __init__(
        self,
        *,
        limits: QueueLimits | None = None,
        jitter: float = 0.0,
        seed: int = 1,
        hold_doubt: bool = False,
        tls: ITlsPolicies | None = None,
        senders: Senders | None = None,
    ) -> None:
        self.tls = tls
        self.senders = senders
        self.hold_doubt = hold_doubt
        self.clock = Clock()
        self.clock.advance(START)
        self.database = schema.memory()
        self.agent = ScriptedAgent()
        self.destinations = TableOfDestinations()
        self.limits = limits or QueueLimits(1000, 10_000, 100, 50, 1 << 20)
        self.schedule = Schedule((300.0, 600.0, 3600.0), jitter, 432_000.0, 86_400.0)
        self.bouncer = Bouncer("mx.example.org", parse_address("postmaster@mx.example.org"), 50_000)
        self.site_limits = SiteLimits(5, 20, 3, 60.0, 3600.0)
        self.rng = random.Random(seed)
        self.ids = QueueIds()
        self.journal: list[Event] = []
        self.restart()

    def restart(self) -> None:
        self.spool: Spool = memory_spool(
            self.database,
            lambda call: self.clock.callLater(0, call),
            now=self.clock.seconds(),
            journal=self.journal.append,
            retry_in=None if self.hold_doubt else lambda attempts: self.schedule.retry[attempts - 1],
        )
        self.manager = QueueManager(
            spool=self.spool,
            agent=self.agent,
            router=MXRouter(),
            destinations=self.destinations,
            schedule=self.schedule,
            site_limits=self.site_limits,
            limits=self.limits,
            bouncer=self.bouncer,
            ids=self.ids,
            clock=self.clock,
            rng=self.rng,
            hold_doubt=self.hold_doubt,
            tls=self.tls,
            senders=self.senders,
        )
        self.manager.start()
        self.settle()

    def settle(self, turns: int = 50) -> None:
        """Let everything happen that needs no time."""
        for _ in range(turns):
            self.clock.advance(0)

    def advance(self, seconds: float, step: float = 30.0) -> None:
        """Let time pass, in steps, as a reactor would."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(min(step, end - self.clock.seconds()))
            self.settle(10)

    def send(
        self,
        *recipients: str | Recipient,
        sender: Address | None = ALICE,
        content: bytes = b"Subject: hi\r\n\r\nhello\r\n",
        expanded: Sequence[Recipient] = (),
        body: Body = Body.SEVEN_BIT,
        utf8: bool = False,
        ret: Ret | None = None,
        envid: str = "",
        require_tls: RequireTls | None = None,
    ) -> int:
        """A message from the server's hands: committed, then handed to the manager."""
        message = self.manager.new_id()
        receiving = self.spool.receive(message)
        receiving.write(content)
        claimed = self.manager.wants_claim()
        named = tuple(Recipient(parse_address(each)) if isinstance(each, str) else each for each in recipients)
        envelope = Envelope(sender, named, body, utf8, ret, envid, tuple(expanded), require_tls)
        committed = receiving.commit(envelope, Origin("192.0.2.9"), self.clock.seconds(), claimed)
        committed.addCallback(self.manager.accepted, claimed)
        self.settle()
        return message

    def hang(self, *sites: str) -> dict[str, Deferred[Mapping[Address, Outcome]]]:
        """Attempts at these sites wait for the test; the last one of each is in the answer, by site."""
        waiting: dict[str, Deferred[Mapping[Address, Outcome]]] = {}

        def wait(delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
            return waiting.setdefault(delivery.destination.site, Deferred())

        for site in sites:
            self.agent.answers[site] = wait
        return waiting

    def reports(self) -> list[EmailMessage]:
        """Every report that was made, in order, as the email package reads it; they are kept while none is sent."""
        rows = self.database.execute(
            "SELECT data FROM chunks JOIN events USING (message)"
            " WHERE kind = 'accepted' AND detail ->> '$.protocol' = 'bounce' ORDER BY message, number"
        )
        return [message_from_bytes(data, policy=policy.default) for (data,) in rows]

    def statuses(self) -> list[list[EmailMessage]]:
        """The groups of fields of each report: the message's own, then one for each recipient."""
        found = []
        for report in self.reports():
            (_text, status, *_original) = report.iter_parts()
            found.append(cast(list[EmailMessage], status.get_payload()))
        return found

    def told(self) -> list[tuple[str, str]]:
        """What the reports tell: (address, action), in order."""
        return [
            (group["Final-Recipient"].removeprefix("rfc822; "), group["Action"])
            for groups in self.statuses()
            for group in groups[1:]
        ]

    def details(self, message: int, kind: str) -> list[dict[str, object]]:
        """The details of a message's events of one kind, in order."""
        rows = self.database.execute(
            "SELECT detail FROM events WHERE message = ? AND kind = ? ORDER BY seq", (message, kind)
        )
        return [json.loads(detail) for (detail,) in rows]

    def break_disk(self) -> None:
        """No transaction succeeds until `mend_disk`."""
        self.database.begin = "DISK FULL"

    def mend_disk(self) -> None:
        self.database.begin = "BEGIN IMMEDIATE"

    def kinds(self, message: int) -> list[str]:
        """The kinds of a message's events, in order."""
        rows = self.database.execute("SELECT kind FROM events WHERE message = ? ORDER BY seq", (message,))
        return [kind for (kind,) in rows]

    def queued(self) -> list[tuple[int, str, str]]:
        """What stands in the spool: (message, address, state)."""
        rows = self.database.execute("SELECT message, address, state FROM recipients ORDER BY message, address")
        return list(rows)

    def due(self, message: int) -> float:
        """When a message is due next, in seconds since the start."""
        (due,) = self.database.execute("SELECT due FROM messages WHERE id = ?", (message,)).fetchone()
        return float(due) - START

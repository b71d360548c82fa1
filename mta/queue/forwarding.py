"""
Plan messages of which some recipients get another sender.

Owns: keeping those apart in transactions of their own.
Never: decides who does (`mta/policy/forwarding.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from mta.address import Address
from mta.destination import Destination, Transport
from mta.entry import QueuedRecipient
from mta.envelope import Envelope
from mta.interfaces import IDestinations, ITlsPolicies
from mta.outcome import Deferral, Failure
from mta.queue.planning import Plan, Planner, Routes
from mta.queue.window import Active, Job

# By these mail leaves for other hosts, which look at the sender.
_REMOTE = frozenset((Transport.MX, Transport.SMTP, Transport.SMTPS))
_Group = tuple[str, list[QueuedRecipient]]


class Senders(Protocol):
    """`mta.policy.forwarding.Forwarding`."""

    def sender(self, sender: Address | None, recipient: Address, named: str) -> Address | None: ...


@dataclass(slots=True, eq=False)
class ForwardedJob(Job):
    """A transaction with a sender of its own."""

    sender: Address | None = None

    def envelope(self) -> Envelope:
        return replace(Job.envelope(self), sender=self.sender)


class ForwardingPlanner(Planner):
    """A planner that asks `senders` about each recipient that leaves for another host."""

    def __init__(
        self,
        router: Routes,
        destinations: IDestinations,
        per_transaction: int,
        tls: ITlsPolicies | None,
        senders: Senders,
    ) -> None:
        super().__init__(router, destinations, per_transaction, tls)
        self._senders = senders

    def _grouped(
        self,
        active: Active,
        now: float,
        groups: list[_Group],
        located: list[Destination | Deferral | Failure],
        nowhere: list[tuple[QueuedRecipient, Deferral | Failure]],
    ) -> Plan:
        sender = active.entry.sender
        apart: dict[Address, list[_Group]] = {}
        kept: list[_Group] = []
        for (rule, recipients), found in zip(groups, located, strict=True):
            same: dict[Address | None, list[QueuedRecipient]] = {}
            leaves = isinstance(found, Destination) and found.next_hop.transport in _REMOTE
            for recipient in recipients:
                other = self._senders.sender(sender, recipient.address, recipient.named) if leaves else None
                same.setdefault(other, []).append(recipient)
            kept.append((rule, same.pop(None, [])))
            for other, theirs in same.items():
                if other is not None:
                    # The groups stand beside their destinations: those before this one are empty.
                    lists = apart.setdefault(other, [(name, []) for name, _recipients in groups])
                    lists[len(kept) - 1] = (rule, theirs)
        plan = super()._grouped(active, now, kept, located, nowhere)
        for other, theirs_by_group in apart.items():
            part = super()._grouped(active, now, theirs_by_group, located, [])
            for job in part.jobs:
                plan.jobs.append(
                    ForwardedJob(
                        job.active, job.destination, job.recipients, job.planned, rules=job.rules, sender=other
                    )
                )
        return plan


def planner(
    router: Routes,
    destinations: IDestinations,
    per_transaction: int,
    tls: ITlsPolicies | None,
    senders: Senders | None,
) -> Planner:
    """The planner of a configuration: one that looks at senders only where there are any to rewrite."""
    if senders is None:
        return Planner(router, destinations, per_transaction, tls)
    return ForwardingPlanner(router, destinations, per_transaction, tls, senders)

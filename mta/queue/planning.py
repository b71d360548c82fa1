"""
From a claimed message to the transactions that it takes.

Owns: grouping recipients by destination, and cutting groups to the size of a transaction.
Never: starts or records anything. Routes are asked at each attempt, so that a changed configuration holds at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.python.failure import Failure as Fault

from mta.address import Address
from mta.destination import Destination, Route
from mta.entry import Entry, QueuedRecipient
from mta.interfaces import IDestinations, ITlsPolicies
from mta.outcome import Deferral, Failure, Phase
from mta.queue.window import Active, Job
from mta.routing.next_hops import parse_next_hop
from mta.tls_policy import DEFAULT_POLICY, TlsPolicy

Located = Destination | Deferral | Failure


class Routes(Protocol):
    """`mta.routing.router.Router`."""

    def route(self, address: Address) -> Route: ...


@lru_cache(maxsize=64)
def chosen(next_hop: str) -> Route:
    """The route of a recipient whose next hop an operator chose. Raises ValueError where it is none."""
    return Route(parse_next_hop(next_hop), "operator")


def _first_fault(fault: Fault) -> Fault:
    """The fault itself, not the wrapper that tells which of the Deferreds it came from."""
    error = fault.value
    return error.subFailure if isinstance(error, FirstError) else fault


def _joined(located: Located, policy: TlsPolicy | Deferral, route: Route) -> Located:
    if not isinstance(located, Destination) or (policy is DEFAULT_POLICY and route.login is None):
        return located
    return replace(located, tls=policy, login=route.login) if isinstance(policy, TlsPolicy) else policy


def _joined_later(
    located: Located | Deferred[Located],
    policy: TlsPolicy | Deferral | Deferred[TlsPolicy | Deferral],
    route: Route,
) -> Deferred[Located]:
    asked: list[Deferred[Any]] = [item if isinstance(item, Deferred) else succeed(item) for item in (located, policy)]
    # Both at once; the fault of one must not go unseen while the other is waited for.
    both = gatherResults(asked, consumeErrors=True)
    both.addErrback(_first_fault)
    return both.addCallback(lambda found: _joined(found[0], found[1], route))


@dataclass(slots=True)
class Plan:
    """The jobs of a message, and who has no destination and why."""

    jobs: list[Job] = field(default_factory=list)
    nowhere: list[tuple[QueuedRecipient, Deferral | Failure]] = field(default_factory=list)


class Planner:
    """Plans messages; `per_transaction` recipients share one at most. `tls` says what their domains demand."""

    def __init__(
        self, router: Routes, destinations: IDestinations, per_transaction: int, tls: ITlsPolicies | None = None
    ) -> None:
        self._router = router
        self._destinations = destinations
        self._per_transaction = per_transaction
        self._tls = tls

    def plan(self, active: Active, now: float) -> Plan | Deferred[Plan]:
        """The plan for a message: at once, unless the DNS has to be asked."""
        wanted: dict[tuple[Route, str], list[QueuedRecipient]] = {}
        nowhere: list[tuple[QueuedRecipient, Deferral | Failure]] = []
        for recipient in active.entry.recipients:
            address = recipient.address
            if recipient.ended is not None:
                nowhere.append((recipient, Failure(recipient.ended, Phase.QUEUE)))
                continue
            route = chosen(recipient.next_hop) if recipient.next_hop else self._router.route(address)
            wanted.setdefault((route, address.domain), []).append(recipient)
        groups = [(route.rule, recipients) for (route, _domain), recipients in wanted.items()]
        entry = active.entry
        known: list[Located] = []
        asked: list[Deferred[Located]] = []
        for route, domain in wanted:
            located = self._locate(route, domain, entry)
            if isinstance(located, Deferred):
                asked.append(located)
            else:
                known.append(located)
                asked.append(succeed(located))
        if len(known) == len(groups):
            return self._grouped(active, now, groups, known, nowhere)
        waiting = gatherResults(asked, consumeErrors=True)
        waiting.addErrback(_first_fault)
        return waiting.addCallback(lambda found: self._grouped(active, now, groups, found, nowhere))

    def _locate(self, route: Route, domain: str, entry: Entry) -> Located | Deferred[Located]:
        """The destination with what the domain or the sender demands of it: who demands different things parts here."""
        located = self._destinations.locate(route.next_hop, domain)
        if self._tls is None:
            return located
        if entry.tls_report and route.tls is None and route.login is None:
            return located  # RFC 8460 3, 5.3.1: TLS that fails must not keep back the report that tells of it
        if entry.require_tls is None:
            policy = self._tls.policy(domain, route)
        else:
            policy = self._tls.wished(domain, route, entry.require_tls, is_report=entry.sender is None)
        if isinstance(located, Deferred) or isinstance(policy, Deferred):
            return _joined_later(located, policy, route)
        return _joined(located, policy, route)

    def _grouped(
        self,
        active: Active,
        now: float,
        groups: list[tuple[str, list[QueuedRecipient]]],
        located: list[Located],
        nowhere: list[tuple[QueuedRecipient, Deferral | Failure]],
    ) -> Plan:
        plan = Plan(nowhere=nowhere)
        filling: dict[Destination, Job] = {}  # the last, unfilled job for a destination
        for (rule, recipients), found in zip(groups, located, strict=True):
            for recipient in recipients:
                if not isinstance(found, Destination):
                    plan.nowhere.append((recipient, found))
                    continue
                job = filling.get(found)
                if job is None or len(job.recipients) >= self._per_transaction:
                    job = filling[found] = Job(active, found, [], now)
                    plan.jobs.append(job)
                job.recipients.append(recipient)
                job.rules.append(rule)
        return plan

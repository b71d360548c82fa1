"""
Count what a simulation has seen.

Owns: what the figures of a report mean, each taken from the ledger of a `Result` or from its database.
Never: words (`mta/sim/report.py`), judgement (whether a promise was broken).

What the sites and the clients saw is counted as they saw it, what the program says of itself is taken from its events.
Reports of ours (DSNs) are counted apart from the mail.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mta.entry import FINAL
from mta.events import TERMINAL, Event, Kind
from mta.sim.ledger import Arrival, Ledger
from mta.sim.places import Places
from mta.spool.schema import SpoolConnection

if TYPE_CHECKING:
    from mta.sim.simulation import Result

# Why a site has a message twice, in the order in which they are looked for.
SENT_AGAIN = "the client sent it again"
DROPPED = "the site took it and did not say so"
CRASHED = "it was in doubt at a crash"
UNEXPLAINED = "unexplained"
CAUSES = (SENT_AGAIN, DROPPED, CRASHED, UNEXPLAINED)

_IN_QUEUE = f"state NOT IN ({', '.join(repr(state.value) for state in FINAL)})"
_Sent = tuple[int, str]  # the token of a message, and one of its recipients
_KINDS = (Kind.DELIVERED, Kind.DEFERRED, Kind.IN_DOUBT, Kind.BOUNCED, Kind.EXPIRED, Kind.DISCARDED)


@dataclass(slots=True)
class SiteTotals:
    """
    One site: recipients delivered, deferred (attempts), bounced, expired; what it has seen of us.

    `left` is what waits for it at the end; `drained` is when the last recipient was done, None where some are left or
    none ever was. The `backlog_` figures are the same for the `backlog` alone: what waited for it at the begin.
    """

    name: str
    kinds: Counter[Kind] = field(default_factory=Counter)
    left: int = 0
    drained: float | None = None
    peak_connections: int = 0
    peak_rate: int = 0
    backlog: int = 0
    backlog_kinds: Counter[Kind] = field(default_factory=Counter)
    backlog_left: int = 0
    backlog_drained: float | None = None
    backlog_expires: float | None = None  # the first one that does

    def count(self, kind: Kind, at: float, *, of_backlog: bool) -> None:
        """Something became of one of its recipients, at `at` seconds since the begin; a doubt counts as a deferral."""
        kind = Kind.DEFERRED if kind is Kind.IN_DOUBT else kind
        self.kinds[kind] += 1
        if kind in TERMINAL:
            self.drained = at
        if not of_backlog:
            return
        self.backlog_kinds[kind] += 1
        if kind in TERMINAL:
            self.backlog_drained = at
        if kind is Kind.EXPIRED and self.backlog_expires is None:
            self.backlog_expires = at

    def leave(self, *, of_backlog: bool) -> None:
        """One of its recipients is still in the queue."""
        self.left += 1
        self.drained = None
        if of_backlog:
            self.backlog_left += 1
            self.backlog_drained = None


@dataclass(frozen=True, slots=True)
class Totals:
    """
    Times are in seconds since the begin. `delays` is the median, the 99th percentile and the worst time to deliver.

    `postponed` are recipients whose turn did not come because their site is silent or crowded: nobody was asked.
    `depth` is the number of recipients in the queue from each time on; `left` is by state, `refused` by reply code
    (0: the connection was lost), `duplicates` by cause, `faults` by text.
    """

    duration: float
    messages: int
    accepted: int
    delivered: int
    deferred: int
    postponed: int
    bounced: int
    expired: int
    discarded: int
    reports: int
    reports_delivered: int
    duplicates: Mapping[str, int]
    in_doubt: int
    delays: tuple[float, float, float] | None
    backlog: int
    longest: int
    longest_at: float
    left: Mapping[str, int]
    refused: Mapping[int, int]
    faults: Mapping[str, int]
    crashes: int
    sites: Sequence[SiteTotals]
    depth: Sequence[tuple[float, int]]


def totals(result: Result) -> Totals:
    """The figures of a finished run."""
    ledger, start = result.ledger, result.start
    places = Places(result.scenario, ledger.events)
    reports = {each.message for each in ledger.events if _is_report(each)}
    kinds: Counter[Kind] = Counter()
    report_kinds: Counter[Kind] = Counter()
    postponed = in_doubt = messages = accepted = 0
    delays: list[float] = []
    for event in ledger.events:
        kind = event.kind
        if kind is Kind.ACCEPTED and event.message not in reports:
            messages += 1
            accepted += _number(event.detail, "recipients")
        elif kind is Kind.DEFERRED and not event.detail.get("attempt"):
            postponed += 1
        elif kind in _KINDS:
            in_doubt += is_in_doubt(event)
            (report_kinds if event.message in reports else kinds)[kind] += 1
            if kind is Kind.DELIVERED and event.message not in reports:
                delays.append(float(event.detail.get("delay") or 0.0))
    depth = _depth(ledger.events, result.backlog, start)
    longest_at, longest = max(depth, key=lambda step: (step[1], -step[0]))
    return Totals(
        duration=result.end - start,
        messages=messages,
        accepted=accepted,
        delivered=kinds[Kind.DELIVERED],
        deferred=kinds[Kind.DEFERRED] + kinds[Kind.IN_DOUBT],
        postponed=postponed,
        bounced=kinds[Kind.BOUNCED],
        expired=kinds[Kind.EXPIRED],
        discarded=kinds[Kind.DISCARDED],
        reports=len(reports),
        reports_delivered=report_kinds[Kind.DELIVERED],
        duplicates=_duplicates(ledger),
        in_doubt=in_doubt,
        delays=_quantiles(delays),
        backlog=result.backlog,
        longest=longest,
        longest_at=longest_at,
        left=_left(result.database),
        refused=dict(sorted(ledger.clients_refused.items())),
        faults=dict(Counter(ledger.faults).most_common()),
        crashes=len(ledger.crashes),
        sites=_sites(result, places),
        depth=depth,
    )


def is_in_doubt(event: Event) -> bool:
    """Whether the final dot was sent and no reply has come: the peer may have the message."""
    last = event.kind is Kind.EXPIRED and event.detail.get("phase") == "end-of-data"
    return event.kind is Kind.IN_DOUBT or (last and event.detail.get("reply") is None)


def _is_report(event: Event) -> bool:
    return event.kind is Kind.ACCEPTED and event.detail.get("protocol") == "bounce"


def _number(detail: Mapping[str, Any], key: str) -> int:
    value = detail.get(key)
    return value if isinstance(value, int) else 0


def _quantiles(delays: list[float]) -> tuple[float, float, float] | None:
    """Median, 99th percentile, worst; by nearest rank."""
    if not delays:
        return None
    delays.sort()
    ranks = (max(0, math.ceil(share * len(delays)) - 1) for share in (0.5, 0.99, 1.0))
    median, most, worst = (delays[rank] for rank in ranks)
    return median, most, worst


def _depth(events: Sequence[Event], backlog: int, start: float) -> list[tuple[float, int]]:
    """The recipients in the queue, reports of ours among them, from each time on at which their number changes."""
    steps = [(0.0, backlog)]
    depth = backlog
    for event in events:
        if event.kind is Kind.ACCEPTED:
            depth += _number(event.detail, "recipients")
        elif event.kind in TERMINAL:
            depth -= 1
        else:
            continue
        at = event.at - start
        if steps[-1][0] == at:
            steps[-1] = (at, depth)
        else:
            steps.append((at, depth))
    return steps


def _left(database: SpoolConnection) -> dict[str, int]:
    rows = database.execute(f"SELECT state, count(*) FROM recipients WHERE {_IN_QUEUE} GROUP BY state ORDER BY state")
    return {str(state): int(number) for state, number in rows}


def _sites(result: Result, places: Places) -> list[SiteTotals]:
    """Each site that has seen a connection, or that mail went to; those with most mail first."""
    found: dict[str, SiteTotals] = {}

    def site(name: str) -> SiteTotals:
        return found.setdefault(name, SiteTotals(name))

    for name, figures in result.ledger.sites.items():
        if figures.transactions or figures.peak_connections:
            site(name).peak_connections = figures.peak_connections
            site(name).peak_rate = figures.peak_rate
    waiting = set(result.waiting)
    for event in result.ledger.events:
        if event.kind not in _KINDS or event.recipient is None:
            continue
        if event.kind is Kind.DEFERRED and not event.detail.get("attempt"):
            continue
        whom = event.message, event.recipient
        site(places.of(*whom)).count(event.kind, event.at - result.start, of_backlog=whom in waiting)
    for whom in waiting:
        site(places.of(*whom)).backlog += 1
    for whom in result.database.execute(f"SELECT message, address FROM recipients WHERE {_IN_QUEUE}"):
        site(places.of(*whom)).leave(of_backlog=whom in waiting)
    return sorted(found.values(), key=lambda each: (-each.backlog, -sum(each.kinds.values()) - each.left, each.name))


def _duplicates(ledger: Ledger) -> dict[str, int]:
    """Copies beyond the first that a site took for one recipient, by what explains them."""
    # By what the client sent and whom for, and then by what we made of it: one message, unless it came again.
    copies: defaultdict[_Sent, defaultdict[int | None, list[Arrival]]] = defaultdict(lambda: defaultdict(list))
    for arrival in ledger.arrivals:
        if arrival.token is not None:
            copies[arrival.token, arrival.recipient][arrival.message].append(arrival)
    doubts: defaultdict[tuple[int | None, str], list[float]] = defaultdict(list)
    for event in ledger.events:
        if is_in_doubt(event) and event.recipient is not None:
            doubts[event.message, event.recipient].append(event.at)
    found = dict.fromkeys(CAUSES, 0)
    for (token, recipient), messages in copies.items():
        found[SENT_AGAIN if token in ledger.repeated else UNEXPLAINED] += len(messages) - 1
        for message, arrivals in messages.items():
            for first, second in pairwise(arrivals):
                found[_cause(first, second, doubts[message, recipient], ledger.crashes)] += 1
    return found


def _cause(first: Arrival, second: Arrival, doubts: Sequence[float], crashes: Sequence[float]) -> str:
    """Why we sent one message twice to one recipient."""
    if not first.acknowledged:
        return DROPPED
    if any(first.at <= at <= second.at for at in crashes):
        return CRASHED
    return DROPPED if any(first.at <= at <= second.at for at in doubts) else UNEXPLAINED

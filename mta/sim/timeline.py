"""
Tell a simulation as a story: what happened when, in few lines.

Owns: which events are worth a line, and the bounds on how many there are.
Never: counts (`mta/sim/totals.py`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mta.events import Event, Kind
from mta.sim.ledger import Happening
from mta.sim.places import Places

if TYPE_CHECKING:
    from mta.sim.simulation import Result
    from mta.sim.totals import Totals

# Lines at most: sites (four lines each), groups of bounces, and what the scenario has happen.
MAX_SITES, MAX_GROUPS, MAX_HAPPENINGS = 8, 12, 40
# A reason longer than that is cut.
MAX_REASON = 90

_Group = tuple[Kind, str, str]  # what happened, the site, the enhanced code


@dataclass(slots=True)
class _Trouble:
    """What a site's mail went through; times in seconds since the begin."""

    first: float
    reason: str
    last: float
    deferred: int = 1
    recovered: float | None = None


def timeline(result: Result, totals: Totals) -> list[Happening]:
    """The lines, in the order of time; `at` counts from the begin."""
    start, ledger = result.start, result.ledger
    lines = [Happening(each.at - start, each.text) for each in ledger.happenings[:MAX_HAPPENINGS]]
    if len(ledger.happenings) > MAX_HAPPENINGS:
        at = ledger.happenings[MAX_HAPPENINGS].at - start
        lines.append(Happening(at, f"({len(ledger.happenings) - MAX_HAPPENINGS} more from the scenario)"))
    places = Places(result.scenario, ledger.events)
    lines += _troubles(ledger.events, places, start, totals)
    lines += _groups(ledger.events, places, start)
    lines += _queue(totals)
    lines.sort(key=lambda line: line.at)
    return lines


def _troubles(events: list[Event], places: Places, start: float, totals: Totals) -> list[Happening]:
    """For each site the first deferral, the first delivery behind it, the last deferral, and the end of its backlog."""
    troubles: dict[str, _Trouble] = {}
    for event in events:
        if event.recipient is None or event.kind not in (Kind.DEFERRED, Kind.IN_DOUBT, Kind.DELIVERED):
            continue
        name, at = places.of(event.message, event.recipient), event.at - start
        trouble = troubles.get(name)
        if event.kind is Kind.DELIVERED:
            if trouble is not None and trouble.recovered is None:
                trouble.recovered = at
        elif not event.detail.get("attempt"):
            continue
        elif trouble is None:
            troubles[name] = _Trouble(at, str(event.detail.get("reason", "")), at)
        else:
            trouble.deferred += 1
            trouble.last = at
    drained = {site.name: site.drained for site in totals.sites}
    worst = sorted(troubles.items(), key=lambda item: -item[1].deferred)
    lines = []
    for name, trouble in worst[:MAX_SITES]:
        lines.append(Happening(trouble.first, f"{name}: first deferral: {_short(trouble.reason)}"))
        if trouble.recovered is not None:
            lines.append(Happening(trouble.recovered, f"{name}: first delivery after that"))
        if trouble.deferred > 1:
            lines.append(Happening(trouble.last, f"{name}: last of {trouble.deferred:,} deferrals"))
        empty = drained.get(name)
        if empty is not None:
            lines.append(Happening(empty, f"{name}: nothing waits for it any more"))
    if len(worst) > MAX_SITES:
        at = min(trouble.first for _name, trouble in worst[MAX_SITES:])
        lines.append(Happening(at, f"(deferrals of {len(worst) - MAX_SITES:,} more sites from here on)"))
    return lines


def _groups(events: list[Event], places: Places, start: float) -> list[Happening]:
    """Bounces and expiries by site and code, each group at its first one."""
    firsts: dict[_Group, Event] = {}
    lasts: dict[_Group, float] = {}
    counts: Counter[_Group] = Counter()
    for event in events:
        if event.kind in (Kind.BOUNCED, Kind.EXPIRED) and event.recipient is not None:
            group: _Group = event.kind, places.of(event.message, event.recipient), str(event.detail.get("code") or "")
            firsts.setdefault(group, event)
            lasts[group] = event.at
            counts[group] += 1
    lines = []
    for some, number in counts.most_common(MAX_GROUPS):
        kind, site, _code = some
        first = firsts[some]
        until = f" until {clock(lasts[some] - start)}" if lasts[some] > first.at else ""
        text = f"{site}: {number:,} {kind.value}{until}: {_short(str(first.detail.get('reason', '')))}"
        lines.append(Happening(first.at - start, text))
    if len(counts) > MAX_GROUPS:
        left = counts.most_common()[MAX_GROUPS:]
        at = min(firsts[group].at for group, _number in left) - start
        lines.append(Happening(at, f"({len(left):,} more groups of bounces)"))
    return lines


def _queue(totals: Totals) -> list[Happening]:
    """The longest queue, and when it was empty for good."""
    if not totals.longest:
        return []
    lines = [Happening(totals.longest_at, f"the queue is at its longest: {totals.longest:,} recipients")]
    at, depth = totals.depth[-1]
    if depth == 0:
        lines.append(Happening(at, "the queue is empty"))
    return lines


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 3]}..."


def clock(seconds: float) -> str:
    """A time as the timeline has it: ``+1d02:03:04``."""
    whole = round(seconds)
    days, rest = divmod(whole, 86400)
    return f"+{days}d{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def span(seconds: float) -> str:
    """How long something took, in the two largest units that say something: ``0.4 s``, ``3 min 20 s``, ``2 d 5 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, below, name, lower in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit} {name} {rest} {lower}" if rest else f"{whole // unit} {name}"
    raise AssertionError("unreachable")

"""
Put the figures of a simulation into words.

Owns: the blocks of the report (timeline, totals, sites, the forecast of a queue) and the same as JSON.
Never: counts, prints, or knows a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mta.events import Kind
from mta.sim.ledger import Happening
from mta.sim.timeline import clock, span
from mta.sim.totals import SiteTotals, Totals

# Sites that a table shows; JSON has all.
MAX_SITES = 20
# Steps of the queue's depth in JSON.
MAX_STEPS = 1000

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A table with its title; a heading that starts with ">" is of a column of numbers."""

    title: str
    headings: Row
    rows: Sequence[Row]


def blocks(
    totals: Totals, lines: Sequence[Happening], broken: Sequence[str] | None, forecast_from: str = ""
) -> Iterator[Block]:
    """
    The report.

    `broken` are the promises that were not kept, None where nobody has looked; `forecast_from` is when it began with
    the queue as it was, "" where it began with none.
    """
    yield Block("Timeline", ("TIME", "WHAT HAPPENS"), [(clock(line.at), line.text) for line in lines])
    if forecast_from:
        yield Block(f"Forecast from {forecast_from}", *_forecast(totals))
    yield Block("Totals", ("WHAT", ">NUMBER", "NOTE"), list(_figures(totals, broken)))
    yield Block("Sites", *_sites(totals))


def _figures(totals: Totals, broken: Sequence[str] | None) -> Iterator[Row]:
    if totals.backlog:
        yield _row("in the queue at the begin", totals.backlog, "recipients")
    yield _row("accepted", totals.accepted, f"recipients of {totals.messages:,} messages")
    for code, number in totals.refused.items():
        yield _row(
            "put off or refused", number, f"times a client was told {code}" if code else "times it was told nothing"
        )
    yield _row("delivered", totals.delivered, _delays(totals))
    yield _row("deferred", totals.deferred, "attempts")
    if totals.postponed:
        yield _row("postponed", totals.postponed, "times nobody was asked, for the site was silent or crowded")
    yield _row("bounced", totals.bounced, "")
    yield _row("expired", totals.expired, "")
    if totals.discarded:
        yield _row("discarded", totals.discarded, "")
    yield _row("reports to senders", totals.reports, f"DSNs, {totals.reports_delivered:,} of them delivered")
    causes = ", ".join(f"{number:,}: {cause}" for cause, number in totals.duplicates.items() if number)
    yield _row("duplicates", sum(totals.duplicates.values()), causes)
    yield _row("in doubt", totals.in_doubt, "attempts that ended without a reply to the final dot")
    if totals.longest:
        yield _row("longest queue", totals.longest, f"recipients at {clock(totals.longest_at)}")
    states = ", ".join(f"{number:,} {state}" for state, number in totals.left.items())
    yield _row("still there at the end", sum(totals.left.values()), states)
    if totals.crashes:
        yield _row("crashes", totals.crashes, "")
    yield _row("faults of our own", sum(totals.faults.values()), "; ".join(list(totals.faults)[:3]))
    if broken is not None:
        yield _row("promises broken", len(broken), "; ".join(broken[:3]) or "all invariants hold")


def _row(what: str, number: int, note: str) -> Row:
    return what, f"{number:,}", note


def _delays(totals: Totals) -> str:
    if totals.delays is None:
        return ""
    median, most, worst = map(span, totals.delays)
    return f"median {median}, 99% within {most}, worst {worst}"


def _sites(totals: Totals) -> tuple[Row, list[Row]]:
    headings = ("SITE", ">DELIVERED", ">DEFERRED", ">BOUNCED", ">EXPIRED", ">LEFT", ">CONNECTIONS", ">A MINUTE")
    rows = [
        (
            site.name,
            *(
                f"{number:,}"
                for number in (
                    *(site.kinds[kind] for kind in (Kind.DELIVERED, Kind.DEFERRED, Kind.BOUNCED, Kind.EXPIRED)),
                    site.left,
                    site.peak_connections,
                    site.peak_rate,
                )
            ),
        )
        for site in totals.sites[:MAX_SITES]
    ]
    return headings, rows + _more(totals.sites, headings)


def _forecast(totals: Totals) -> tuple[Row, list[Row]]:
    headings = ("SITE", ">BACKLOG", "DRAINED", ">DELIVERED", ">BOUNCED", ">EXPIRED", "FIRST EXPIRES", ">LEFT")
    waited = [site for site in totals.sites if site.backlog]
    rows = [
        (
            site.name,
            f"{site.backlog:,}",
            clock(site.backlog_drained) if site.backlog_drained is not None else "never",
            f"{site.backlog_kinds[Kind.DELIVERED]:,}",
            f"{site.backlog_kinds[Kind.BOUNCED]:,}",
            f"{site.backlog_kinds[Kind.EXPIRED]:,}",
            clock(site.backlog_expires) if site.backlog_expires is not None else "-",
            f"{site.backlog_left:,}",
        )
        for site in waited[:MAX_SITES]
    ]
    return headings, rows + _more(waited, headings)


def _more(sites: Sequence[SiteTotals], headings: Row) -> list[Row]:
    left = len(sites) - MAX_SITES
    return [(f"({left:,} more)", *[""] * (len(headings) - 1))] if left > 0 else []


def as_json(totals: Totals, lines: Sequence[Happening], broken: Sequence[str] | None, start: float) -> dict[str, Any]:
    """
    All of it: times and durations in seconds, times since the begin; `start` is that, in seconds since 1970.

    `broken` is None where nobody has looked.
    """
    names = ("duration", "messages", "accepted", "delivered", "deferred", "postponed", "bounced", "expired")
    more = ("discarded", "reports", "reports_delivered", "in_doubt", "backlog", "longest", "longest_at", "crashes")
    return {
        "start": _number(start),
        **{name: _number(getattr(totals, name)) for name in (*names, *more)},
        "delays": None
        if totals.delays is None
        else dict(zip(("median", "99th", "worst"), map(_number, totals.delays), strict=True)),
        "duplicates": dict(totals.duplicates),
        "left": dict(totals.left),
        "refused": {str(code): number for code, number in totals.refused.items()},
        "faults": dict(totals.faults),
        "broken": None if broken is None else list(broken),
        "sites": [
            {
                "name": site.name,
                **_by_kind(site.kinds),
                "left": site.left,
                "drained": _number(site.drained),
                "peak_connections": site.peak_connections,
                "peak_rate": site.peak_rate,
                "backlog": {
                    "recipients": site.backlog,
                    **_by_kind(site.backlog_kinds),
                    "left": site.backlog_left,
                    "drained": _number(site.backlog_drained),
                    "first_expires": _number(site.backlog_expires),
                },
            }
            for site in totals.sites
        ],
        "timeline": [{"at": _number(line.at), "text": line.text} for line in lines],
        "depth": [[_number(at), depth] for at, depth in thinned(totals.depth, totals.duration, MAX_STEPS)],
    }


def _by_kind(kinds: Mapping[Kind, int]) -> dict[str, int]:
    counted = (Kind.DELIVERED, Kind.DEFERRED, Kind.BOUNCED, Kind.EXPIRED, Kind.DISCARDED)
    return {kind.value: kinds.get(kind, 0) for kind in counted}


def _number(value: float | None) -> float | None:
    return round(value, 3) if isinstance(value, float) else value


def thinned(steps: Sequence[tuple[float, int]], duration: float, most: int) -> list[tuple[float, int]]:
    """The steps, where there are more than `most` only the highest of each part of the time, and the last one."""
    if len(steps) <= most:
        return list(steps)
    parts: dict[int, tuple[float, int]] = {}
    for step in steps:
        part = int(step[0] / duration * (most - 1)) if duration else 0
        if part not in parts or step[1] > parts[part][1]:
            parts[part] = step
    kept = list(parts.values())
    return kept if kept[-1] == steps[-1] else [*kept, steps[-1]]

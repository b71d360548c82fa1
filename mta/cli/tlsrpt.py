"""
`mta tlsrpt`: what is counted for reports on TLS (RFC 8460), and what became of the reports.

Owns: how that is printed.
Never: changes anything, or asks the network. It reads beside a daemon that runs.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from mta.cli import columns
from mta.cli.configuration import config_option, loaded
from mta.cli.failure import CommandError
from mta.tls.tlsrpt_store import FOLDER, Report, State, TlsrptStore
from mta.tls_report import SECONDS_OF_DAY, Counted, Tally, day_of


@click.group()
def tlsrpt() -> None:
    """Look at what is counted for reports on TLS (RFC 8460)."""


@tlsrpt.command()
@click.argument("domain", required=False)
@click.option("--date", "date", metavar="YYYY-MM-DD", help="This day, in UTC; else today and yesterday.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for each domain, day and policy.")
@config_option
def show(config: str | None, domain: str | None, date: str | None, as_json: bool) -> None:
    """
    Print what was counted of DOMAIN, or of all, and what became of the reports.

    What the daemon has counted within the last seconds is not there yet. A report goes out when its day is over.
    """
    checked = loaded(config)
    store = TlsrptStore(checked.state_dir / FOLDER)
    today = day_of(time.time())
    days = [_day(date)] if date else [today, today - 1]
    name = domain.lower().removesuffix(".") if domain else None
    try:
        found = [(day, store.overview(day, name), store.reports(day, name)) for day in days]
    except sqlite3.Error as error:
        raise CommandError(f"{checked.state_dir / FOLDER}: {error}", os.EX_DATAERR) from None
    if as_json:
        for day, tallies, reports in found:
            for row in objects(day, tallies, reports):
                click.echo(json.dumps(row))
        return
    printed = columns.write(
        ("day", "domain", "policy", ">good", ">failed", "what"),
        (row for day, tallies, _reports in found for row in rows(day, tallies)),
    )
    if not printed and not checked.tls.reports.enabled:
        click.echo("mta: tls.reports.enabled is off: nothing is counted", err=True)
    lines = [row for day, _tallies, reports in found for row in report_rows(day, reports)]
    if printed and lines:
        click.echo()
    columns.write(("report", "domain", "state", "at", "where"), lines)


def _day(text: str) -> int:
    try:
        return day_of(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date of the form YYYY-MM-DD", param_hint="--date") from None


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * SECONDS_OF_DAY, UTC).strftime("%Y-%m-%d")


def rows(day: int, tallies: list[tuple[str, Tally]]) -> Iterator[tuple[str, ...]]:
    """A line for each domain and policy, and one below it for each kind of failure."""
    for domain, tally in tallies:
        policy = tally.policy.type.value
        if tally.policy.domain != domain:
            policy = f"{policy} ({tally.policy.domain})"
        yield _date(day), domain, policy, str(tally.successes), str(tally.failures), ""
        for detail in tally.details:
            yield "", "", "", "", str(detail.count), _failure(detail)


def _failure(detail: Counted) -> str:
    session = detail.session
    result = session.finding.result
    where = f"{session.host}[{session.ip}]" if session.ip else session.host
    words = [result.value if result else "", f"at {where}" if where else ""]
    said = " ".join(word for word in words if word)
    return f"{said}: {session.finding.reason}" if session.finding.reason else said


def report_rows(day: int, reports: list[Report]) -> Iterator[tuple[str, ...]]:
    """A line for each report and place."""
    for report in reports:
        at = columns.time(report.due) if report.state is State.WAITING else ""
        if not report.places:
            yield _date(day), report.domain, report.state.value, at, ""
        for uri, place in report.places.items():
            where = f"{uri}: {place.trouble}" if place.trouble else uri
            yield _date(day), report.domain, report.state.value, at or columns.time(place.when), where


def objects(day: int, tallies: list[tuple[str, Tally]], reports: list[Report]) -> Iterator[dict[str, Any]]:
    """The same for programs: times in seconds since 1970."""
    by_domain = {report.domain: report for report in reports}
    for domain, tally in tallies:
        report = by_domain.get(domain)
        yield {
            "day": _date(day),
            "domain": domain,
            "policy": tally.policy.type.value,
            "policy_domain": tally.policy.domain,
            "policy_strings": list(tally.policy.strings),
            "successes": tally.successes,
            "failures": tally.failures,
            "details": [_detail(detail) for detail in tally.details],
            "report": None if report is None else _report(report),
        }


def _detail(detail: Counted) -> dict[str, Any]:
    session = detail.session
    return {
        "result": session.finding.result.value if session.finding.result else "",
        "reason": session.finding.reason,
        "host": session.host,
        "helo": session.helo,
        "ip": session.ip,
        "sending_ip": session.sending_ip,
        "count": detail.count,
    }


def _report(report: Report) -> dict[str, Any]:
    return {
        "state": report.state.value,
        "due": report.due,
        "tries": report.tries,
        "places": {uri: {"at": place.when, "trouble": place.trouble} for uri, place in report.places.items()},
    }

"""
`mta status`: what the daemon is doing.

Owns: how its figures are printed.
Never: reads the spool by itself: without a daemon there is nothing to tell.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, cast

import click

from mta.cli import columns
from mta.cli.configuration import config_option, files
from mta.cli.daemon import Connection, NotRunning, Row
from mta.cli.failure import CommandError

_FIGURES = (
    ("active", "messages in memory"),
    ("deliveries", "attempts under way"),
    ("sessions", "connections of clients"),
    ("in_doubt", "recipients in doubt"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all of it.")
@config_option
def status(config: str | None, as_json: bool) -> None:
    """Print what the daemon is doing, and when its certificates end; the exit code is 69 where it does not run."""
    found = _asked(config)
    if as_json:
        click.echo(json.dumps(found))
    else:
        columns.write(("what", "is"), _rows(found))


def _asked(config: str | None) -> Row:
    place = files(config).control
    try:
        with Connection(place) as connection:
            list(connection.ask("status", {}))
    except NotRunning:
        raise CommandError(f"{place}: the daemon does not run", os.EX_UNAVAILABLE) from None
    return {name: value for name, value in connection.result.items() if name != "ok"}


def _rows(found: Row) -> Iterator[tuple[str, str]]:
    yield "daemon", f"process {found['pid']}, {found['hostname']}"
    for name, title in _FIGURES:
        if name in found:
            yield title, str(found[name])
    for worker in cast("list[Row]", found.get("workers", [])):
        figures = " ".join(f"{name}={value}" for name, value in worker.items() if name != "worker")
        yield f"worker {worker['worker']}", figures or "does not answer"
    for certificate in cast("list[Row]", found.get("certificates", [])):
        yield "certificate", _certificate(certificate)


def _certificate(words: dict[str, Any]) -> str:
    if "problem" in words:
        return f"{words['file']}: {words['problem']}"
    days = words["days_left"]
    ends = f"ends in {days:.0f} days" if days > 0 else f"ended {-days:.0f} days ago"
    names = ", ".join(words["names"]) or "no host name"
    return f"{words['file']}: {names}; {ends}, {columns.time(words['expires'])}"

"""
`mta undo`: take a change of the queue back.

Owns: how operations are listed, and what an undo says it did.
Never: decides what can be undone.
"""

from __future__ import annotations

import os
from typing import Any, cast

import click

from mta.cli import columns
from mta.cli.configuration import Files, config_option, files
from mta.cli.daemon import Row, rows
from mta.cli.failure import CommandError
from mta.cli.listing import print_json
from mta.cli.surgery import print_changed, told


@click.command()
@click.argument("operation", type=click.IntRange(1), required=False)
@click.option("--list", "listing", is_flag=True, help="List the operations of the last 24 hours.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@config_option
def undo(config: str | None, as_json: bool, listing: bool, operation: int | None) -> None:
    """Give the recipients that an OPERATION changed back what they were, as far as they have not moved on since."""
    if listing == (operation is not None):
        raise CommandError("name an operation, or say --list", os.EX_USAGE)
    if listing:
        _list_operations(files(config), as_json=as_json)
        return
    changed, result = told(files(config), "undo", {"operation": operation})
    stayed = int(str(result.get("stayed", 0)))
    if as_json:
        print_json([*changed, {key: result[key] for key in result if key != "ok"}])
    else:
        print_changed(changed, "as before")
        if stayed:
            click.echo(f"{stayed} moved on since (delivered, tried or changed again) and stay as they are.")
    if not changed:
        raise CommandError(f"nothing is left of operation {operation} that could be undone", os.EX_NOINPUT)


def _list_operations(place: Files, *, as_json: bool) -> None:
    answer = rows(place, "undo.list", {})
    if as_json:
        print_json(answer)
    elif not columns.write((">OPERATION", "TIME", "BY", "COMMAND", ">CHANGED", "FILTER"), map(_operation, answer)):
        click.echo("No operation in the last 24 hours.")


def _operation(row: Row) -> tuple[str, ...]:
    said = cast("dict[str, Any]", row["words"])
    given = {**said.pop("filter", {}), **said}
    command = str(row["command"]) + ("" if row["ended"] else " (under way)")
    if row["undone_by"] is not None:
        command += f" (undone by {row['undone_by']})"
    at = columns.time(cast("float", row["at"]))
    told = " ".join(f"{name}={value}" for name, value in given.items())
    return str(row["operation"]), at, str(row["by"]), command, str(row["changed"]), told or "-"

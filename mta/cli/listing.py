"""
How recipients in the queue read, whichever command prints them.

Owns: the columns of a recipient, and JSON.
Never: asks for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast

import click

from mta.cli import columns
from mta.cli.daemon import Row

HEADINGS = ("ID", "ARRIVED", ">SIZE", "STATE", ">TRIES", "DUE", "SENDER", "RECIPIENT", "LAST REPLY")


def listed(row: Row) -> tuple[str, ...]:
    """The cells of a recipient under `HEADINGS`."""
    return (
        str(row["id"]),
        columns.time(cast("float", row["arrived"])),
        columns.size(cast("int", row["size"])),
        str(row["state"]),
        str(row["attempts"]),
        columns.time(cast("float", row["due"])) if row["due"] is not None else "-",
        str(row["sender"]) or "<>",
        str(row["recipient"]),
        str(row["last_reply"]) or "-",
    )


def print_json(answer: Iterable[Row]) -> None:
    """One JSON object a line."""
    for row in answer:
        click.echo(json.dumps(row))

"""
`mta trace`: every event of a message.

Owns: how an event reads.
Never: leaves anything out; a raw reply is printed as it came, with its control characters escaped.
"""

from __future__ import annotations

import json
from typing import cast

import click

from mta.cli import columns
from mta.cli.configuration import config_option, files
from mta.cli.daemon import Row, rows


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@config_option
def trace(config: str | None, as_json: bool, id_: str) -> None:
    """Print every event of a message, also of one that has left the queue."""
    events = rows(files(config), "trace", {"id": id_})
    if as_json:
        for event in events:
            click.echo(json.dumps(event))
    else:
        columns.write(("TIME", "EVENT", "RECIPIENT", "DETAIL"), map(_told, events))


def _told(event: Row) -> tuple[str, ...]:
    detail = cast("Row", event["detail"])
    words = " ".join(f"{name}={_value(name, value)}" for name, value in detail.items() if value not in (None, ""))
    recipient = event["recipient"]
    return columns.time(cast("float", event["at"])), str(event["kind"]), str(recipient or "-"), words


def _value(name: str, value: object) -> str:
    if name == "due" and isinstance(value, int | float):
        return columns.time(value)
    text = str(round(value, 3) if isinstance(value, float) else value)
    return json.dumps(text, ensure_ascii=False) if " " in text or '"' in text else text

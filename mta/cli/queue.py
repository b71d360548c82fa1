"""
`mta queue`: list, show, count; `mta/cli/surgery.py` has what changes it.

Owns: how their answers read.
Never: touches the spool itself.
"""

from __future__ import annotations

from typing import Any, cast

import click

from mta.cli import columns
from mta.cli.configuration import config_option, files
from mta.cli.daemon import Row, rows
from mta.cli.filters import filtered, words
from mta.cli.listing import HEADINGS, listed, print_json
from mta.cli.moving import export, import_
from mta.cli.surgery import CHANGES

# What a sender says of it, as it stands in the spool.
_TLS = {"": "", "yes": "required (REQUIRETLS)", "no": "not required (TLS-Required: No)"}


@click.group()
def queue() -> None:
    """List and change the queue. A filter's "*" stands for any text; all filters that are given must hold."""


@queue.command("list")
@filtered
@click.option("--limit", type=click.IntRange(1), help="At most so many recipients.")
@config_option
def list_(config: str | None, as_json: bool, ids: tuple[str, ...], **filters: Any) -> None:
    """List the recipients in the queue, oldest message first."""
    asked = words(ids, filters)
    answer = rows(files(config), "queue.list", asked)
    if as_json:
        print_json(answer)
    elif not columns.write(HEADINGS, map(listed, answer)):
        click.echo("Nothing matches." if asked.keys() - {"limit"} else "The queue is empty.")


@queue.command()
@filtered
@config_option
def count(config: str | None, as_json: bool, ids: tuple[str, ...], **filters: Any) -> None:
    """Count the recipients in the queue by state."""
    answer = rows(files(config), "queue.count", words(ids, filters))
    if as_json:
        print_json(answer)
    else:
        columns.write(("STATE", ">COUNT"), ((str(row["state"]), str(row["count"])) for row in answer))


@queue.command()
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@config_option
def show(config: str | None, as_json: bool, id_: str) -> None:
    """Show a message: its envelope, its recipients and its header."""
    answer = list(rows(files(config), "queue.show", {"id": id_}))
    if as_json:
        print_json(answer)
        return
    for message in answer:
        _print_message(message)


def _print_message(message: Row) -> None:
    for name, value in (
        ("id", str(message["id"])),
        ("arrived", columns.time(cast("float", message["arrived"]))),
        ("sender", str(message["sender"]) or "<>"),
        ("size", f"{message['size']} octets, {message['body']}"),
        ("crashes", str(message["crashes"])),
        ("TLS", _TLS[str(message["require_tls"])]),
    ):
        if not value:
            continue
        click.echo(columns.printable(f"{name:<9} {value}"))
    click.echo()
    recipients = cast("list[Row]", message["recipients"])
    columns.write(HEADINGS[3:6] + HEADINGS[7:], ((*listed(row)[3:6], *listed(row)[7:]) for row in recipients))
    click.echo()
    for line in str(message["header"]).split("\n"):
        click.echo("\t".join(columns.printable(part) for part in line.split("\t")))


for _command in (*CHANGES, export, import_):
    queue.add_command(_command)

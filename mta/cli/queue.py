"""
`mta queue`: list, show, count, and hold, release, retry, discard.

Owns: the one language of filters that all of them share, and how their answers read.
Never: touches the spool itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any, cast

import click

from mta.cli import columns
from mta.cli.configuration import Files, config_option, files
from mta.cli.daemon import Connection, NotRunning, Row, rows
from mta.cli.failure import CommandError
from mta.cli.filters import filtered, words

_HEADINGS = ("ID", "ARRIVED", ">SIZE", "STATE", ">TRIES", "DUE", "SENDER", "RECIPIENT", "LAST REPLY")
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
        _print_json(answer)
    elif not columns.write(_HEADINGS, map(_listed, answer)):
        click.echo("Nothing matches." if asked.keys() - {"limit"} else "The queue is empty.")


@queue.command()
@filtered
@config_option
def count(config: str | None, as_json: bool, ids: tuple[str, ...], **filters: Any) -> None:
    """Count the recipients in the queue by state."""
    answer = rows(files(config), "queue.count", words(ids, filters))
    if as_json:
        _print_json(answer)
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
        _print_json(answer)
        return
    for message in answer:
        _print_message(message)


def _changing(name: str, done: str, text: str) -> None:
    """Add a command that changes the queue."""

    @filtered
    @click.option("--all", "everything", is_flag=True, help="The whole queue.")
    @click.option("--dry-run", is_flag=True, help="Say how many it would be, show some, and change nothing.")
    @config_option
    def command(
        config: str | None, as_json: bool, everything: bool, dry_run: bool, ids: tuple[str, ...], **filters: Any
    ) -> None:
        asked = words(ids, filters)
        if everything:
            asked["all"] = True
        if dry_run:
            preview(files(config), name, done, asked, as_json=as_json)
            return
        try:
            with Connection(files(config).control) as connection:
                changed = list(connection.ask(f"queue.{name}", asked))
        except NotRunning:
            reason = f"the daemon is not running, and only it can {name} mail"
            raise CommandError(reason, os.EX_UNAVAILABLE) from None
        if as_json:
            _print_json(changed)
        else:
            for row in changed:
                click.echo(columns.printable(f"{row['id']} {row['recipient']} {done}"))
        if not changed and not everything:
            raise CommandError(f"nothing matched that could be {done}", os.EX_NOINPUT)

    queue.command(name, help=text)(command)


_changing("hold", "held", "Stop the delivery of recipients until they are released.")
_changing("release", "released", "Release held recipients; they are due at once.")
_changing("retry", "made due", "Try queued recipients at once.")
_changing("discard", "discarded", "Drop recipients for good. Nobody is told.")


def preview(place: Files, change: str, done: str, asked: dict[str, object], *, as_json: bool) -> None:
    """Print how many recipients a change would be made to, and the first of them."""
    answer = list(rows(place, "queue.preview", {"change": change, **asked}))
    if as_json:
        _print_json(answer)
        return
    click.echo(f"{answer[0]['count']} would be {done}.")
    columns.write(_HEADINGS, map(_listed, answer[1:]))


def _listed(row: Row) -> tuple[str, ...]:
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
    columns.write(_HEADINGS[3:6] + _HEADINGS[7:], ((*_listed(row)[3:6], *_listed(row)[7:]) for row in recipients))
    click.echo()
    for line in str(message["header"]).split("\n"):
        click.echo("\t".join(columns.printable(part) for part in line.split("\t")))


def _print_json(answer: Iterable[Row]) -> None:
    for row in answer:
        click.echo(json.dumps(row))

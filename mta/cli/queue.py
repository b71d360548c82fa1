"""
`mta queue`: list, show, count, and hold, release, retry, discard.

Owns: the one language of filters that all of them share, and how their answers read.
Never: touches the spool itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, cast

import click

from mta.cli import columns
from mta.cli.configuration import config_option, files
from mta.cli.daemon import Connection, NotRunning, Row, rows
from mta.cli.failure import CommandError

Filters = dict[str, Any]

_HEADINGS = ("ID", "ARRIVED", ">SIZE", "STATE", ">TRIES", "DUE", "SENDER", "RECIPIENT", "LAST REPLY")
# What a sender says of it, as it stands in the spool.
_TLS = {"": "", "yes": "required (REQUIRETLS)", "no": "not required (TLS-Required: No)"}
_STATES = ("queued", "held", "quarantined", "in-doubt")


@click.group()
def queue() -> None:
    """List and change the queue. A filter's "*" stands for any text; all filters that are given must hold."""


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the arguments and options that select recipients, and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
        click.option("--state", type=click.Choice(_STATES), help="Only recipients in this state."),
        click.option("--domain", help="Only recipients at this domain."),
        click.option("--recipient", metavar="ADDRESS", help="Only this recipient."),
        click.option("--sender", metavar="ADDRESS", help='Only from this sender; "" is the null sender.'),
        click.argument("ids", metavar="[ID]...", nargs=-1),
    ):
        command = option(command)
    return command


def _words(ids: tuple[str, ...], filters: Filters) -> dict[str, object]:
    """The words of a request: what was given, and nothing else."""
    words: dict[str, object] = {key: value for key, value in filters.items() if value is not None}
    if ids:
        words["ids"] = list(ids)
    return words


@queue.command("list")
@_filtered
@click.option("--limit", type=click.IntRange(1), help="At most so many recipients.")
@config_option
def list_(config: str | None, as_json: bool, ids: tuple[str, ...], **filters: Any) -> None:
    """List the recipients in the queue, oldest message first."""
    words = _words(ids, filters)
    answer = rows(files(config), "queue.list", words)
    if as_json:
        _print_json(answer)
    elif not columns.write(_HEADINGS, map(_listed, answer)):
        click.echo("Nothing matches." if words.keys() - {"limit"} else "The queue is empty.")


@queue.command()
@_filtered
@config_option
def count(config: str | None, as_json: bool, ids: tuple[str, ...], **filters: Any) -> None:
    """Count the recipients in the queue by state."""
    answer = rows(files(config), "queue.count", _words(ids, filters))
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

    @_filtered
    @click.option("--all", "everything", is_flag=True, help="The whole queue.")
    @config_option
    def command(config: str | None, as_json: bool, everything: bool, ids: tuple[str, ...], **filters: Any) -> None:
        words = _words(ids, filters)
        if everything:
            words["all"] = True
        try:
            with Connection(files(config).control) as connection:
                changed = list(connection.ask(f"queue.{name}", words))
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

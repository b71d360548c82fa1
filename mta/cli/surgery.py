"""
The commands of `mta queue` that change it.

Owns: what they take beside the filters, and how they say what they did.
Never: touches the spool itself; only a running daemon changes a queue.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import click

from mta.cli import columns
from mta.cli.configuration import Files, config_option, files
from mta.cli.daemon import Connection, NotRunning, Row, rows
from mta.cli.failure import CommandError
from mta.cli.filters import filtered, words
from mta.cli.listing import HEADINGS, listed, print_json


class Asked(NamedTuple):
    """What a person asked of the queue, and how the answer is to be printed."""

    place: Files
    words: dict[str, object]
    as_json: bool
    dry_run: bool


def _command(name: str, text: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a function that takes what it `Asked` and the values of options of its own."""

    def made(function: Callable[..., None]) -> click.Command:
        def command(
            config: str | None, as_json: bool, everything: bool, dry_run: bool, ids: tuple[str, ...], **others: Any
        ) -> None:
            own = {key: others.pop(key) for key in getattr(function, "own", ())}
            asked = words(ids, others)
            if everything:
                asked["all"] = True
            function(Asked(files(config), asked, as_json, dry_run), **own)

        for option in getattr(function, "options", ()):
            command = option(command)
        command = config_option(command)
        command = click.option("--dry-run", is_flag=True, help="Say how many it would be, show some, change nothing.")(
            command
        )
        command = click.option("--all", "everything", is_flag=True, help="The whole queue.")(command)
        return click.command(name, help=text)(filtered(command))

    return made


def _taking(**options: Callable[[Any], Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Note the options that a command has of its own, by the names of its arguments."""

    def noted(function: Callable[..., None]) -> Callable[..., None]:
        function.own = tuple(options)  # type: ignore[attr-defined]
        function.options = tuple(options.values())  # type: ignore[attr-defined]
        return function

    return noted


@_command("hold", "Stop the delivery of recipients until they are released.")
@_taking(future=click.option("--future", is_flag=True, help="Those of mail that is still to come: make a rule."))
def hold(asked: Asked, future: bool) -> None:
    if not future or asked.dry_run:
        _carry_out(asked, "hold", "held")
        return
    _rows, result = told(asked.place, "rules.add", asked.words)
    if asked.as_json:
        print_json([{"rule": result["rule"]}])
    else:
        click.echo(f"Rule {result['rule']}: such mail is held as it comes; `mta queue rules` lists the rules.")


@_command("release", "Release held recipients; they are due at once.")
def release(asked: Asked) -> None:
    _carry_out(asked, "release", "released")


@_command("retry", "Try queued recipients at once.")
def retry(asked: Asked) -> None:
    _carry_out(asked, "retry", "made due")


@_command("reroute", "Send recipients to another next hop than the routes would, from the next attempt on.")
@_taking(
    to=click.option("--to", metavar="NEXT_HOP", help="Where to: smtp://HOST:PORT, mx:DOMAIN, lmtp://HOST:PORT ..."),
    clear=click.option("--clear", is_flag=True, help="Let the routes decide again."),
)
def reroute(asked: Asked, to: str | None, clear: bool) -> None:
    if clear == (to is not None):
        raise CommandError("say where to, with --to, or --clear", os.EX_USAGE)
    more: dict[str, object] = {"clear": True} if clear else {"to": to}
    _carry_out(
        asked, "reroute", "given back to the routes" if clear else "rerouted", more, "unroute" if clear else None
    )


@_command("discard", "Drop recipients, and tell nobody. For 24 hours `mta undo` brings them back.")
@_taking(
    for_good=click.option("--for-good", is_flag=True, help="Without undo: the disk has its room back at once."),
)
def discard(asked: Asked, for_good: bool) -> None:
    _carry_out(asked, "discard", "discarded", {"for_good": True} if for_good else {})


@_command("bounce", "Give recipients up, and tell their senders why. A report that is made can't be taken back.")
@_taking(text=click.option("--text", required=True, help="What the senders are told, in one line."))
def bounce(asked: Asked, text: str) -> None:
    _carry_out(asked, "bounce", "bounced", {"text": text})


@click.group("rules", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@config_option
@click.pass_context
def rules(context: click.Context, config: str | None, as_json: bool) -> None:
    """List the rules that hold mail as it comes, and remove them."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    answer = rows(files(config), "rules.list", {})
    if as_json:
        print_json(answer)
    elif not columns.write((">RULE", "SINCE", "BY", "FILTER"), map(_rule, answer)):
        click.echo("No rules.")


@rules.command()
@click.argument("number", type=click.IntRange(1))
@config_option
def remove(config: str | None, number: int) -> None:
    """Remove a rule. What it held stays held."""
    told(files(config), "rules.remove", {"rule": number})
    click.echo(f"Rule {number} is removed; what it held stays held.")


def _rule(row: Row) -> tuple[str, ...]:
    words = " ".join(f"{name}={value}" for name, value in cast("dict[str, object]", row["filter"]).items())
    return str(row["rule"]), columns.time(cast("float", row["at"])), str(row["by"]), words or "everything"


CHANGES = (hold, release, retry, reroute, discard, bounce, rules)


def told(place: Files, command: str, asked: dict[str, object]) -> tuple[list[Row], Row]:
    """Have the daemon do something: the rows of its answer, and the last one."""
    try:
        with Connection(place.control) as connection:
            return list(connection.ask(command, asked)), connection.result
    except NotRunning:
        what = command.removeprefix("queue.")
        raise CommandError(f"the daemon is not running, and only it can {what} mail", os.EX_UNAVAILABLE) from None


def _carry_out(
    asked: Asked, name: str, done: str, more: dict[str, object] | None = None, change: str | None = None
) -> None:
    if asked.dry_run:
        _preview(asked, change or name, done)
        return
    changed, result = told(asked.place, f"queue.{name}", {**asked.words, **(more or {})})
    number = result.get("operation")
    if asked.as_json:
        print_json([*changed, {"changed": len(changed), "operation": number}])
    else:
        print_changed(changed, done)
        if number is not None:
            click.echo(f"Operation {number}: {len(changed)} {done}.")
    if not changed and "all" not in asked.words:
        raise CommandError(f"nothing matched that could be {done}", os.EX_NOINPUT)


def print_changed(changed: list[Row], done: str) -> None:
    """A line for each recipient."""
    for row in changed:
        click.echo(columns.printable(f"{row['id']} {row['recipient']} {done}"))


def _preview(asked: Asked, change: str, done: str) -> None:
    """Print how many recipients a change would be made to, and the first of them."""
    answer = list(rows(asked.place, "queue.preview", {"change": change, **asked.words}))
    if asked.as_json:
        print_json(answer)
        return
    click.echo(f"{answer[0]['count']} would be {done}.")
    columns.write(HEADINGS, map(listed, answer[1:]))

"""
The options of `mta queue` that select recipients.

Owns: one option for each filter that `mta/selection.py` declares, and how its value is written on a command line.
Never: decides what a filter matches.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from mta.config.units import parse_duration, parse_size
from mta.entry import State
from mta.selection import FILTERS, Filter, Measure

Words = dict[str, object]

_STATES = [state.value for state in State if not state.is_final or state is State.DISCARDED]
# "1M", as people and `mta queue list` write it.
_SHORT_SIZE = re.compile(r"[0-9]+ ?[KMG]", re.IGNORECASE)


class Duration(click.ParamType[float]):
    """A duration such as 2h or 1h30m, as seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType[int]):
    """A size such as 500K, 1M or 50MiB, as octets."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if _SHORT_SIZE.fullmatch(text):
            text += "iB"
        try:
            return parse_size(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_TYPES: dict[Measure, click.ParamType[Any]] = {
    Measure.TEXT: click.STRING,
    Measure.STATE: click.Choice(_STATES),
    Measure.SECONDS: Duration(),
    Measure.OCTETS: Size(),
    Measure.NUMBER: click.IntRange(0),
}


def option(filter_: Filter) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option of one filter."""
    shown = None if filter_.measure is Measure.STATE else filter_.metavar
    return click.option(f"--{filter_.name}", metavar=shown, type=_TYPES[filter_.measure], help=filter_.help)


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the arguments and options that select recipients, and --json."""
    command = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)
    for filter_ in reversed(FILTERS):
        command = option(filter_)(command)
    return click.argument("ids", metavar="[ID]...", nargs=-1)(command)


def words(ids: tuple[str, ...], values: dict[str, Any]) -> Words:
    """The words of a request: what was given, and nothing else."""
    given: Words = {key: value for key, value in values.items() if value is not None}
    if ids:
        given["ids"] = list(ids)
    return given

"""
Read the configuration, or another file that is declared in the same way.

Owns: the way from a file to the values of its tables, and the list of all that is wrong with it.
Never: looks at anything the file names, secrets from the environment apart.
Fails: `ConfigError`, with every problem of the file at once.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from mta.config.consistency import conflicts
from mta.config.environment import Substitution
from mta.config.lines import LineIndex, Location
from mta.config.messages import sentence, spelled_key
from mta.config.option import Table
from mta.config.schema import Config, Settings

Root = TypeVar("Root", bound=Table)

_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)$")
_TOML_END = " (at end of document)"


class ConfigError(Exception):
    """A configuration that can't be used; `problems` are lines such as ``etc/mta.toml:7: queue.retry: must be ...``."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Form(Generic[Root]):
    """
    A kind of file: its tables (`root`), what it is called in messages (`noun`), what must hold between its options.

    `conflicts` is told which options were wrong and are left out; `stand_ins` are values for those that are required,
    so that the right ones are compared all the same.
    """

    root: type[Root]
    noun: str
    conflicts: Callable[[Root, Collection[str]], Iterable[tuple[Location, str]]]
    stand_ins: Mapping[str, Any]


@dataclass(frozen=True)
class Filled(Generic[Root]):
    """A file without a fault: its values, as they stand in it (`data`) and as the program takes them, and its lines."""

    values: Root
    data: Mapping[str, Any]
    lines: LineIndex


CONFIGURATION = Form(Settings, "configuration", conflicts, {"hostname": "repaired.invalid"})


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in a file. Raises `ConfigError`."""
    return parse(read(path, CONFIGURATION.noun), str(path), environ)


def parse(text: str, source: str, environ: Mapping[str, str]) -> Config:
    """The configuration in a text; `source` names it in problems and rules. Raises `ConfigError`."""
    filled = parse_form(CONFIGURATION, text, source, environ)
    route_lines = tuple(filled.lines.find(("route", number)) for number in range(len(filled.data.get("route", ()))))
    return Config.model_validate({**filled.data, "source": source, "route_lines": route_lines})


def read(path: Path, noun: str) -> str:
    """The text of a file. Raises `ConfigError`."""
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: cannot read the {noun}: {error.strerror or error}"]) from None
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: is not UTF-8 text"]) from None


def parse_form(form: Form[Root], text: str, source: str, environ: Mapping[str, str]) -> Filled[Root]:
    """The values in a text of that form; `source` names it in problems. Raises `ConfigError`."""
    text = text.replace("\r\n", "\n")
    environment = Substitution(environ)
    try:
        data = environment.apply(tomllib.loads(text))
        lines = LineIndex(text)
    except ValueError as error:  # also what `int` says to a number of 5000 digits
        raise ConfigError([_syntax_problem(text, source, str(error))]) from None
    except RecursionError:
        raise ConfigError([f"{source}: lists or tables are nested too deeply"]) from None
    # An option whose reference could not be replaced has its problem already.
    found = environment.problems + [
        problem
        for problem in _problems(form, data)
        if not any(problem[0] == where for where, _ in environment.problems)
    ]
    if found:
        placed = sorted((lines.find(where), where, environment.hide(where, what)) for where, what in found)
        raise ConfigError(
            _printable(f"{source}:{line}: {spelled_key(where, form.root)}: {what}") for line, where, what in placed
        )
    return Filled(form.root.model_validate(data), data, lines)


def _syntax_problem(text: str, source: str, message: str) -> str:
    """TOML that can't be read at all: `tomllib` stops at the first fault."""
    reason, place = message, ""
    if found := _TOML_PLACE.search(message):
        reason, place = message[: found.start()], f":{found[1]}"
    elif message.endswith(_TOML_END):
        # Not splitlines(): TOML and editors have no line end but LF and CRLF.
        last_line = text.removesuffix("\n").count("\n") + 1
        reason, place = f"{message.removesuffix(_TOML_END)} at the end of the file", f":{last_line}"
    return f"{source}{place}: {reason[0].lower()}{reason[1:]}"


def _printable(text: str) -> str:
    """The text on one line, whatever a value in it holds."""
    return "".join(item if item.isprintable() else item.encode("unicode_escape").decode("ascii") for item in text)


def _problems(form: Form[Root], data: dict[str, Any]) -> list[tuple[Location, str]]:
    """All that is wrong with the values, each alone and with one another."""
    try:
        return list(form.conflicts(form.root.model_validate(data), ()))
    except ValidationError as error:
        problems = [(_location(detail["loc"]), sentence(detail, form.root)) for detail in error.errors()]
    # The options that are right are compared with one another all the same, so that everything is said at once.
    invalid = {_option(location) for location, _ in problems}
    repaired = {**form.stand_ins, **_without(data, invalid)}
    names = {".".join(keys) for keys in invalid}
    return problems + list(form.conflicts(form.root.model_validate(repaired), names))


def _location(found: Location) -> Location:
    """Where a problem is, without pydantic's mark for the key of a table rather than its value."""
    return found[:-1] if len(found) > 2 and found[-1] == "[key]" else found


def _option(location: Location) -> tuple[str, ...]:
    """The option that a location is in: all of it up to the first number."""
    keys: tuple[str, ...] = ()
    for part in location:
        if isinstance(part, int):
            break
        keys = (*keys, part)
    return keys


def _without(data: dict[str, Any], options: set[tuple[str, ...]], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The data without some of its options."""
    return {
        key: _without(value, options, (*path, key)) if isinstance(value, dict) else value
        for key, value in data.items()
        if (*path, key) not in options
    }

"""
Say what is wrong with a value in a sentence.

Owns: the words for each kind of error that pydantic reports, and the nearest right key.
Never: knows lines or files, or which file it is: the configuration and a scenario are told apart by their root table.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic_core import ErrorDetails

from mta.config.lines import Location
from mta.config.option import Table


def sentence(error: ErrorDetails, root: type[Table]) -> str:
    """What is wrong, in the words of a file with the tables of `root`: no Python types, no traces of pydantic."""
    kind, value = error["type"], error["input"]
    context = error.get("ctx", {})
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"], root)
    if kind == "literal_error":
        return f"must be {context['expected']}, not {_spelled(value)}".replace("'", '"') + _near_choice(context, value)
    if kind in ("tuple_type", "string_type") and isinstance(value, dict) and len(error["loc"]) > 2:
        # aliases = { first.last = [...] } is a table in a table to TOML.
        return f"must be {_TYPES[kind]}, not a table; a key with a dot in it stands in quotes"
    if kind == "tuple_type" and isinstance(value, dict):
        return f"must be written in double brackets: [[{_spelled_path(error['loc'])}]]"
    if kind == "model_type" and isinstance(value, tuple):
        return f"must be a table, written in single brackets: [{_spelled_path(error['loc'])}]"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind == "string_too_long":
        return f"must have at most {context['max_length']} characters"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {_spelled(value)}"
    for limit, words in _BOUNDS.items():
        if limit in context:
            return f"must be {words} {_spelled(context[limit])}, not {_spelled(value)}"
    return error["msg"]


_TYPES = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list in brackets",
    "dict_type": "a table",
    "model_type": "a table",
}
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def spelled_key(location: Location, root: type[Table]) -> str:
    """
    A location for people: ``queue.retry``, ``route 2: next_hop``. Tables count from 1, as rules do in a trace.

    The number of an item in a list is left out: the line tells it.
    """
    tables = dict(_tables(root, ()))
    spelled = ""
    path: tuple[str, ...] = ()
    for part in location:
        if isinstance(part, str):
            path = (*path, part)
            spelled += ("." if spelled and spelled[-2:] != ": " else "") + part
        elif path in tables:
            spelled += f" {part + 1}: "
    return spelled.removesuffix(": ")


def _spelled(value: Any) -> str:
    """A value of the file, shortly."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value if len(value) <= 60 else value[:57] + "..."}"'
    if isinstance(value, int | float):
        return f"{value:.12g}" if isinstance(value, float) else str(value)
    return "a list" if isinstance(value, tuple) else "a table" if isinstance(value, dict) else "a date"


def _spelled_path(location: Location) -> str:
    return ".".join(part for part in location if isinstance(part, str))


def _near_choice(context: dict[str, Any], value: Any) -> str:
    choices = str(context["expected"]).split("'")[1::2]
    return did_you_mean(difflib.get_close_matches(value, choices, 1)) if isinstance(value, str) else ""


def _unknown_key(location: Location, root: type[Table]) -> str:
    """Unknown where it stands: it may be misspelled, or have slipped into another table."""
    path = tuple(part for part in location if isinstance(part, str))
    key = path[-1]
    tables = dict(_tables(root, ()))
    # 0.7: one slip in a short word; difflib's own 0.6 takes "source" for "bounce".
    near = difflib.get_close_matches(key, tables.get(path[:-1], ()), 1, 0.7)
    if near:
        return f"unknown key{did_you_mean(near)}"
    homes = [table for table, keys in tables.items() if key in keys and table != path[:-1]]
    if homes == [()]:
        return "unknown key; it must stand at the top of the file, before the first [table]"
    if len(homes) == 1:
        return f"unknown key; it belongs to [{'.'.join(homes[0])}]"
    return "unknown key"


def did_you_mean(near: list[str]) -> str:
    """The hint at the nearest right word, if there is one."""
    return f'; did you mean "{near[0]}"?' if near else ""


def _tables(model: type[Table], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every table of the schema with its keys."""
    keys = {field.alias or name: field for name, field in model.model_fields.items()}
    yield path, list(keys)
    for key, field in keys.items():
        inner = table_of(field.annotation)
        if inner:
            yield from _tables(inner, (*path, key))


def table_of(annotation: Any) -> type[Table] | None:
    """The table that a field holds, once or in an array; None for a plain option."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Table):
            return candidate
    return None

"""
Write the sample configuration and the reference of all options.

Owns: etc/mta.toml and docs/configuration.md, both rendered from the schema: ``python -m mta.config.rendering`` in the
checkout writes them, and a test checks that they are current.
Never: holds a default or a description of an option.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from mta.config.guide import GUIDE, PREAMBLE
from mta.config.messages import table_of
from mta.config.option import Table, details
from mta.config.schema import Settings

_WIDTH = 100
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
Section = tuple[str, type[Table], bool]


def sample() -> str:
    """The text of etc/mta.toml: every option with its meaning; those at their default are comments."""
    parts = [*PREAMBLE.splitlines(), *_sample_options(Settings)]
    for path, table, is_array in _sections(Settings):
        live = not is_array or "." not in path  # an array in a table is empty until somebody fills it
        header = _header(path, is_array)
        parts += ["", "", *_comment(_summary(table)), header if live else f"#{header}", *_sample_options(table, live)]
    return "\n".join(parts) + "\n"


def documentation() -> str:
    """The text of docs/configuration.md."""
    parts = [GUIDE.strip(), "", "## The top of the file", "", *reference(Settings)]
    return "\n".join(parts) + "\n"


def reference(root: type[Table], level: int = 2) -> Iterator[str]:
    """
    The lines of the reference of all options: those of `root`, then each table below a title of `level`.

    A table that stands in two places is described in the first one.
    """
    yield from _rows(root)
    seen: dict[type[Table], str] = {}
    for path, table, is_array in _sections(root):
        header = _header(path, is_array)
        first = seen.setdefault(table, header)
        yield from ("", f"{'#' * level} `{header}`", "")
        if first == header:
            yield from (_summary(table), "", *_rows(table))
        else:
            yield f"As `{first}`."


def _sections(model: type[Table], above: str = "") -> Iterator[Section]:
    """All tables in the order of the schema: path, table, whether it is an array of them."""
    for name, field in model.model_fields.items():
        table = table_of(field.annotation)
        if table:
            path = above + (field.alias or name)
            yield path, table, field.annotation is not table
            yield from _sections(table, f"{path}.")


def _options(table: type[Table]) -> Iterator[tuple[str, FieldInfo]]:
    """The plain options of a table by key."""
    for name, field in table.model_fields.items():
        if not table_of(field.annotation):
            yield field.alias or name, field


def _header(path: str, is_array: bool) -> str:
    return f"[[{path}]]" if is_array else f"[{path}]"


def _summary(table: type[Table]) -> str:
    return " ".join((table.__doc__ or "").split())


def _literal(value: Any) -> str:
    """A value as TOML. JSON's strings are TOML's basic strings."""
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(item) for item in value)}]"
    if isinstance(value, dict) and value:
        return f"{{ {', '.join(f'{_key(key)} = {_literal(item)}' for key, item in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _sample_options(table: type[Table], live: bool = True) -> Iterator[str]:
    for key, field in _options(table):
        note = details(field)
        yield ""
        yield from _comment(field.description or "")
        if note.sample is not None:
            yield f"{'' if live else '#'}{key} = {_literal(note.sample)}"
        else:
            yield f"#{key} = {_literal(field.default)}"


def _rows(table: type[Table]) -> Iterator[str]:
    yield "| key | value | default | meaning | source of the default |"
    yield "|---|---|---|---|---|"
    for key, field in _options(table):
        note = details(field)
        default = "required" if field.is_required() else f"`{_literal(field.default)}`"
        cells = (f"`{key}`", note.unit, default, field.description or "", note.source)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def write(root: Path) -> None:
    """Write both files below the root of the checkout."""
    (root / "etc" / "mta.toml").write_text(sample(), "utf-8")
    (root / "docs" / "configuration.md").write_text(documentation(), "utf-8")


if __name__ == "__main__":
    write(Path(__file__).parents[2])

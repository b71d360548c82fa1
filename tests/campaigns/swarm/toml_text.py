"""
Write a table as TOML.

Owns: the little of TOML that configurations and scenarios need: tables, arrays of tables, plain values.
Never: keeps comments or order other than the table's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def toml(table: dict[str, Any]) -> str:
    """The text of a table."""
    return "\n".join(_lines(table, "")).strip() + "\n"


def _lines(table: dict[str, Any], path: str) -> Iterator[str]:
    nested: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            nested.append((f"{path}.{key}" if path else key, value))
        else:
            yield f"{key} = {json.dumps(value)}"  # JSON's strings, numbers, lists and truth values are TOML's
    for name, value in nested:
        for each in value if isinstance(value, list) else [value]:
            yield ""
            yield f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
            yield from _lines(each, name)

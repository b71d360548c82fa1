"""
Declare an option once: what it means, its default, its unit and where the default comes from.

Owns: the declaration that the schema, the sample and the documentation share.
Never: validates a value (`mta/config/fields.py`) or renders one (`mta/config/rendering.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

REQUIRED: Any = ...


class Table(BaseModel):
    """A table of the file: immutable, hashable, without unknown keys or silent conversions."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=True)


@dataclass(frozen=True, slots=True)
class Details:
    """
    What an option's declaration says for people.

    `unit` is what the value is written as ("duration", "size"), `source` where the default comes from, `sample` the
    value that the sample configuration sets, None where it shows the default as a comment.
    """

    unit: str
    source: str
    sample: Any


def option(
    default: Any,
    description: str = "",
    *,
    unit: str = "",
    source: str = "",
    sample: Any = None,
    alias: str | None = None,
) -> Any:
    """
    A field of the schema. `default` is written as in the file ("5m", not 300.0) and parsed as the file's values are.

    A table needs no description: its docstring is one. `alias` is the key where it can't be the name of the attribute:
    the key ``listener`` makes the list `listeners`.
    """
    details: dict[str, Any] = {"unit": unit, "source": source, "sample": sample}
    return Field(default=default, description=description, alias=alias, json_schema_extra=details)


def details(field: FieldInfo) -> Details:
    """What `option` was told about a field."""
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError("the field was not declared by option()")
    return Details(str(extra["unit"]), str(extra["source"]), extra["sample"])

"""Render docs/events.md from the declarations in `mta/events.py`: ``python -m mta.cli.eventpage > docs/events.md``."""

from __future__ import annotations

import sys

from mta.events import MEANINGS, TERMINAL

_HEAD = """\
# Events

Generated from `mta/events.py` by `make docs`. Each is written in the same transaction as the change it records, and
`mta trace ID` prints them. An event has a time, the queue id, the recipient where it speaks of one, and these fields;
a field that is not known is left out. Each recipient ends in exactly one of the kinds in bold.

| event | what happened | fields |
|---|---|---|
"""


def page() -> str:
    """The whole file."""
    rows = (
        f"| {f'**{kind.value}**' if kind in TERMINAL else kind.value} | {meaning} | {_names(fields)} |\n"
        for kind, (meaning, fields) in MEANINGS.items()
    )
    return _HEAD + "".join(rows)


def _names(fields: tuple[str, ...]) -> str:
    return ", ".join(f"`{field}`" for field in fields)


if __name__ == "__main__":
    sys.stdout.write(page())

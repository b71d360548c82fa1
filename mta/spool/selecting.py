"""
Turn an operator's selection into SQL.

Owns: the condition over `recipients r JOIN messages m ON m.id = r.message`, with every value bound, never spliced in.
Never: runs it; decides which states count as being in the queue.
Fails: never; a selection that can match nothing gives a condition that matches nothing.
"""

from __future__ import annotations

import json
import re

from mta.entry import State
from mta.selection import Selection

# What is told as in doubt, `State.IN_DOUBT`; the state of such a row says what will be done with it.
IN_DOUBT = "(r.in_doubt = 1 AND r.state IN ('queued', 'held'))"

# What LIKE itself reads as special, and the escape. Our own wildcard is "*", which no LIKE pattern gives a meaning to.
_SPECIAL = re.compile(r"[\\%_]")


def where(selection: Selection) -> tuple[str, list[object]]:
    """
    The condition and its parameters; ``1`` for a selection that selects everything.

    Addresses match without regard to the case of ASCII letters, as people type them. Aliases `r` and `m` as above.
    """
    conditions: list[str] = []
    parameters: list[object] = []

    def add(condition: str, parameter: object) -> None:
        conditions.append(condition)
        parameters.append(parameter)

    if selection.messages is not None:
        # One parameter however many ids: SQLite bounds the number of parameters, and a script may name thousands.
        add("m.id IN (SELECT value FROM json_each(?))", json.dumps(selection.messages))
    if selection.sender is not None:
        add(*_address("m.sender", selection.sender))
    if selection.recipient is not None:
        add(*_address("r.address", selection.recipient))
    if selection.domain is not None:
        add(r"r.address LIKE ? ESCAPE '\'", f"%@{_SPECIAL.sub(_escaped, selection.domain)}")
    if selection.state is State.IN_DOUBT:
        conditions.append(IN_DOUBT)
    elif selection.state is not None:
        add(f"r.state = ? AND NOT {IN_DOUBT}", selection.state.value)
    return " AND ".join(conditions) or "1", parameters


def _address(column: str, text: str) -> tuple[str, str]:
    """The condition on an address column, and its parameter."""
    if "*" not in text:
        return f"{column} = ? COLLATE NOCASE", text
    return rf"{column} LIKE ? ESCAPE '\'", _SPECIAL.sub(_escaped, text).replace("*", "%")


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"

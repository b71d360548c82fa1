"""
Turn an operator's selection into SQL.

Owns: the condition over `recipients r` and `messages m`, with every value bound, never spliced in; what each change can
be made to.
Never: runs it.
Fails: never; a selection that can match nothing gives a condition that matches nothing.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping

from mta.entry import FINAL, State
from mta.selection import Selection, codes_in, is_like

# What is told as in doubt, `State.IN_DOUBT`; the state of such a row says what will be done with it.
IN_DOUBT = "(r.in_doubt = 1 AND r.state IN ('queued', 'held'))"
_FINISHED = ", ".join(f"'{state.value}'" for state in State if state in FINAL)
# A discarded recipient keeps its row for a while, but it is not in the queue any more.
IN_QUEUE = f"r.state NOT IN ({_FINISHED})"

# The states of a recipient that each change is made to; `:now` is a parameter.
CHANGEABLE: Mapping[str, str] = {
    "hold": "r.state = 'queued'",
    "export": IN_QUEUE,
    "release": "r.state IN ('held', 'quarantined')",
    "retry": "r.state = 'queued' AND r.due > :now",
    "reroute": IN_QUEUE,
    "unroute": f"""{IN_QUEUE} AND r.details LIKE '%"next_hop"%'""",
    "discard": IN_QUEUE,
    "bounce": f"""{IN_QUEUE} AND ifnull(r.details, '') NOT LIKE '%"ended"%'""",
}

# The rule and the next hop that a recipient would go by, by its address; "" is unknown.
Routes = Callable[[str], tuple[str, ...]]

# What LIKE itself reads as special, and the escape. Our own wildcard is "*", which no LIKE pattern gives a meaning to.
_SPECIAL = re.compile(r"[\\%_]")
_ESCAPE = r"ESCAPE '\'"


def where(selection: Selection, now: float = 0.0) -> tuple[str, dict[str, object]]:
    """
    The condition and its named parameters; ``1`` for a selection that selects everything. Call `bind` before it runs.

    Texts match without regard to the case of ASCII letters, as people type them. Aliases `r` and `m` as above; `m`
    stands in it only where `needs_message` says so. `now` in seconds since 1970.
    """
    conditions: list[str] = []
    values: dict[str, object] = {}

    def add(name: str, condition: str, value: object) -> None:
        conditions.append(condition)
        values[name] = value

    if selection.messages is not None:
        # One parameter however many ids: SQLite bounds the number of parameters, and a script may name thousands.
        add("ids", "r.message IN (SELECT value FROM json_each(:ids))", json.dumps(selection.messages))
    if selection.operation is not None:
        add("operation", "r.operation = :operation", selection.operation)
    if selection.recipient is not None:
        add("recipient", *_text("r.address", "recipient", selection.recipient))
    if selection.domain is not None:
        add("domain", f"r.address LIKE :domain {_ESCAPE}", _pattern(f"*@{selection.domain}"))
    if selection.state is State.IN_DOUBT:
        conditions.append(IN_DOUBT)
    elif selection.state is not None:
        add("state", f"r.state = :state AND NOT {IN_DOUBT}", selection.state.value)
    if selection.code is not None:
        named = {f"code{number}": _pattern(f"* {each} *") for number, each in enumerate(codes_in(selection.code))}
        found = " OR ".join(f"' ' || ifnull(r.code, '') || ' ' LIKE :{name} {_ESCAPE}" for name in named)
        conditions.append(f"({found})")
        values.update(named)
    if selection.reply is not None:
        add("reply", f"r.last_reply LIKE :reply {_ESCAPE}", _pattern(f"*{selection.reply}*"))
    if selection.sender is not None:
        add("sender", *_text("m.sender", "sender", selection.sender))
    if selection.site is not None:
        add("site", *_text("coalesce(m.waits_for, r.site, '')", "site", selection.site))
    if selection.older is not None:
        add("older", "m.arrived < :older", now - selection.older)
    if selection.younger is not None:
        add("younger", "m.arrived > :younger", now - selection.younger)
    if selection.larger is not None:
        add("larger", "m.size > :larger", selection.larger)
    if selection.smaller is not None:
        add("smaller", "m.size < :smaller", selection.smaller)
    if selection.route is not None:
        # The last, for it is the dear one: a function of ours.
        conditions.append("goes_by(r.address, r.details)")
    return " AND ".join(conditions) or "1", values


def needs_message(selection: Selection) -> bool:
    """Whether the condition speaks of the message as well, so that it must be joined."""
    return any(
        value is not None
        for value in (
            selection.sender,
            selection.site,
            selection.older,
            selection.younger,
            selection.larger,
            selection.smaller,
        )
    )


def bind(database: sqlite3.Connection, selection: Selection, routes: Routes | None) -> None:
    """
    Make the condition of `selection` fit to run on a connection; `routes` says where a recipient would go.

    Raises ValueError where it asks for a route and nobody knows them.
    """
    if selection.route is None:
        return
    if routes is None:
        raise ValueError("route: the routes are not known here")
    pattern, known = selection.route, routes
    verdicts: dict[tuple[str, ...], bool] = {}  # a few rules, a million recipients

    def goes_by(address: str, details: str | None) -> bool:
        names = rerouted_in(details) or known(address)
        if names not in verdicts:
            verdicts[names] = any(is_like(name, pattern) for name in names)
        return verdicts[names]

    database.create_function("goes_by", 2, goes_by, deterministic=True)


def rerouted_in(details: str | None) -> tuple[str, ...]:
    """The names of the way that an operator chose for a recipient, in the details of its row; () for none."""
    if not details or '"next_hop"' not in details:
        return ()
    try:
        next_hop = json.loads(details).get("next_hop")
    except (ValueError, AttributeError):  # damage, which must not hide the other rows
        return ()
    return ("operator", str(next_hop)) if next_hop else ()


def _text(column: str, name: str, text: str) -> tuple[str, str]:
    """The condition on a column of text, and its parameter."""
    if "*" not in text:
        return f"{column} = :{name} COLLATE NOCASE", text
    return f"{column} LIKE :{name} {_ESCAPE}", _pattern(text)


def _pattern(text: str) -> str:
    return _SPECIAL.sub(_escaped, text).replace("*", "%")


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"

"""
What an operator ordered of a recipient whose message comes to rest: dropped, or given up.

Owns: reading the order from the details of the row, and what becomes of the row.
Never: begins or ends a transaction; imports Twisted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from mta.entry import State
from mta.events import Event, Kind
from mta.spool.schema import SpoolConnection

# State, due time, address and details of a recipient.
Row = tuple[str, float, str, str]

_BY = ("by", "operation")


def finish_discarded(
    database: SpoolConnection,
    message: int,
    rows: Sequence[Row],
    write: Callable[[SpoolConnection, Iterable[Event]], None],
) -> bool:
    """
    Complete what an operator dropped, maybe while an attempt was under way; whether some of it is kept for a day.
    `write` writes events.

    The order stands in the details: alone, or, where it may be undone, beside what was there.
    """
    gone: list[tuple[int, str]] = []
    are_kept = False
    for state, _due, address, details in rows:
        if state != State.DISCARDED.value:
            continue
        said = json.loads(details)
        order = said.get("discarded") or said
        if order.get("keep"):
            are_kept = True
        else:
            gone.append((message, address))
        if order.get("told"):
            continue
        detail = {"by": order["by"]} if order.get("operation") is None else {key: order[key] for key in _BY}
        write(database, [Event(message, order["at"], Kind.DISCARDED, address, detail)])
        if order.get("keep"):
            database.execute(
                "UPDATE recipients SET details = json_set(details, '$.discarded.told', json('true')), marked = NULL"
                " WHERE message = ? AND address = ?",
                (message, address),
            )
    database.executemany("DELETE FROM recipients WHERE message = ? AND address = ?", gone)
    return are_kept


def hasten_ended(database: SpoolConnection, message: int) -> list[Row]:
    """Make due at once what an operator gave up during an attempt that deferred it; all rows that are not discarded."""
    database.execute(
        "UPDATE recipients SET due = min(due, json_extract(details, '$.ended.at')) WHERE message = ?"
        """ AND state = 'queued' AND details LIKE '%"ended"%'""",
        (message,),
    )
    return database.execute(
        "SELECT state, due, address, details FROM recipients WHERE message = ? AND state <> 'discarded'", (message,)
    ).fetchall()

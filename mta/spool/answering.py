"""
Answer the reading commands: queue.list, queue.count, queue.show, trace.

Owns: the rows of JSON that each gives, the same from a running daemon's control socket and from a stopped one's file.
Never: changes anything, imports Twisted.
Fails: ValueError for a bad word, LookupError where the message is unknown, `SpoolError` where the file can't be read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from mta.entry import State
from mta.events import Event
from mta.ids import parse_id, spell
from mta.selection import Selection, selection_from
from mta.spool import reading
from mta.spool.reading import Place, QueueRow

Words = Mapping[str, object]
Row = dict[str, object]
Rows = Generator[Row, None, None]

# Rows at a time: few enough that a slow reader costs little memory, many enough that a query a page costs nothing.
PAGE = 1000


def pages(path: Path, command: str, words: Words) -> Generator[list[Row], None, None]:
    """
    The rows that answer `command`, in pages, from the spool file at `path`.

    No transaction stays open between two pages, so whoever reads slowly does not hold up the daemon's checkpoints. The
    iterator blocks on the disk; `close` it where it is not read to its end.
    """
    answer = READING[command]
    with reading.opened(path) as database, closing(answer(database, words)) as rows:
        while page := list(islice(rows, PAGE)):
            yield page


def count_in_doubt(path: Path) -> int:
    """How many recipients are in doubt, from the spool file at `path`; found by an index, however long the queue."""
    with reading.opened(path) as database:
        return reading.count(database, Selection(state=State.IN_DOUBT))[State.IN_DOUBT]


def _list(database: sqlite3.Connection, words: Words) -> Rows:
    filters = dict(words)
    limit = filters.pop("limit", None)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise ValueError("limit must be a number of rows")
    selection = selection_from(filters)
    after: Place | None = None
    left = limit
    while left is None or left > 0:
        wanted = PAGE if left is None else min(PAGE, left)
        rows = list(reading.list_queue(database, selection, wanted, after))
        yield from map(_row, rows)
        if len(rows) < wanted:
            return
        after = rows[-1].place
        left = None if left is None else left - wanted


def _count(database: sqlite3.Connection, words: Words) -> Rows:
    for state, number in reading.count(database, selection_from(words)).items():
        yield {"state": state.value, "count": number}


def _show(database: sqlite3.Connection, words: Words) -> Rows:
    found = reading.show(database, _id(words))
    if found is None:
        raise LookupError(f"{words['id']} is not in the queue; `mta trace` may know what became of it")
    row = asdict(found)
    yield {"id": spell(row.pop("message")), **row, "recipients": [_row(each) for each in found.recipients]}


def _trace(database: sqlite3.Connection, words: Words) -> Rows:
    events = reading.trace(database, _id(words))
    if not events:
        raise LookupError(f"nothing is known of {words['id']}")
    yield from map(_event, events)


READING: Mapping[str, Callable[[sqlite3.Connection, Words], Rows]] = {
    "queue.list": _list,
    "queue.count": _count,
    "queue.show": _show,
    "trace": _trace,
}


def _id(words: Words) -> int:
    """The queue id that `queue.show` and `trace` name, alone."""
    text = words.get("id")
    if not isinstance(text, str) or len(words) != 1:
        raise ValueError("give one queue id, as id")
    return parse_id(text)


def _row(row: QueueRow) -> Row:
    return {
        "id": spell(row.message),
        "arrived": row.arrived,
        "sender": row.sender,
        "size": row.size,
        "recipient": row.recipient,
        "state": row.state.value,
        "attempts": row.attempts,
        "due": row.due,
        "last_reply": row.last_reply,
    }


def _event(event: Event) -> Row:
    return {
        "id": spell(event.message),
        "at": event.at,
        "kind": event.kind.value,
        "recipient": event.recipient,
        "detail": dict(event.detail),
    }

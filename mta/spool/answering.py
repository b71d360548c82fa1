"""
Answer the reading commands: queue.list, queue.count, queue.preview, queue.show, trace.

Owns: the rows of JSON that each gives, the same from a running daemon's control socket and from a stopped one's file.
Never: changes anything, imports Twisted.
Fails: ValueError for a bad word, LookupError where the message is unknown, `SpoolError` where the file can't be read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from mta.entry import State
from mta.events import Event
from mta.ids import parse_id, spell
from mta.selection import Selection, selection_from
from mta.spool import moving, reading
from mta.spool.reading import Place, QueueRow
from mta.spool.selecting import CHANGEABLE, Routes, bind

Words = Mapping[str, object]
Row = dict[str, object]
Rows = Generator[Row, None, None]

# Rows at a time: few enough that a slow reader costs little memory, many enough that a query a page costs nothing.
PAGE = 1000


# Of rows that hold a chunk of content each.
_SMALL_PAGE = 8
# Recipients shown of what a change would be made to.
SAMPLE = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what its answer depends on: `now` in seconds since 1970, where recipients would go."""

    words: Words
    now: float = 0.0
    routes: Routes | None = None


def pages(
    path: Path, command: str, words: Words, now: float = 0.0, routes: Routes | None = None
) -> Generator[list[Row], None, None]:
    """
    The rows that answer `command` at `now`, in pages, from the spool file at `path`.

    No transaction stays open between two pages, so whoever reads slowly does not hold up the daemon's checkpoints. The
    iterator blocks on the disk; `close` it where it is not read to its end.
    """
    answer = READING[command]
    with reading.opened(path) as database, closing(answer(database, Asked(words, now, routes))) as rows:
        size = _SMALL_PAGE if command == "queue.archive" else PAGE
        while page := list(islice(rows, size)):
            yield page


def count_in_doubt(path: Path) -> int:
    """How many recipients are in doubt, from the spool file at `path`; found by an index, however long the queue."""
    with reading.opened(path) as database:
        return reading.count(database, Selection(state=State.IN_DOUBT))[State.IN_DOUBT]


def _list(database: sqlite3.Connection, asked: Asked) -> Rows:
    filters = dict(asked.words)
    limit = filters.pop("limit", None)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise ValueError("limit must be a number of rows")
    selection = selection_from(filters)
    bind(database, selection, asked.routes)
    after: Place | None = None
    left = limit
    while left is None or left > 0:
        wanted = PAGE if left is None else min(PAGE, left)
        rows = list(reading.list_queue(database, selection, wanted, after, now=asked.now))
        yield from map(_row, rows)
        if len(rows) < wanted:
            return
        after = rows[-1].place
        left = None if left is None else left - wanted


def _count(database: sqlite3.Connection, asked: Asked) -> Rows:
    selection = selection_from(asked.words)
    bind(database, selection, asked.routes)
    for state, number in reading.count(database, selection, asked.now).items():
        yield {"state": state.value, "count": number}


def _preview(database: sqlite3.Connection, asked: Asked) -> Rows:
    """How many recipients a change would be made to, and the first of them."""
    filters = dict(asked.words)
    change = filters.pop("change", None)
    if not isinstance(change, str) or change not in CHANGEABLE:
        raise ValueError(f"change must be one of {', '.join(CHANGEABLE)}")
    filters.pop("all", None)
    selection = selection_from(filters)
    bind(database, selection, asked.routes)
    yield {"count": reading.count_changeable(database, selection, asked.now, change)}
    yield from map(_row, reading.list_queue(database, selection, SAMPLE, now=asked.now, change=change))


def _operations(database: sqlite3.Connection, asked: Asked) -> Rows:
    """What operators did, the last first."""
    if asked.words:
        raise ValueError("undo.list takes no words")
    rows = database.execute(
        "SELECT number, at, orderer, command, words, changed, ended, undone_by FROM operations ORDER BY number DESC"
    )
    for number, at, orderer, command, words, changed, ended, undone_by in rows.fetchall():
        yield {
            "operation": number,
            "at": at,
            "by": orderer,
            "command": command,
            "words": json.loads(words),
            "changed": changed,
            "ended": bool(ended),
            "undone_by": undone_by,
        }


def _rules(database: sqlite3.Connection, asked: Asked) -> Rows:
    """The rules that hold mail as it comes."""
    if asked.words:
        raise ValueError("rules.list takes no words")
    for number, at, by, words in database.execute("SELECT number, at, orderer, words FROM rules").fetchall():
        yield {"rule": number, "at": at, "by": by, "filter": json.loads(words)}


def _archive(database: sqlite3.Connection, asked: Asked) -> Rows:
    """Messages as an archive has them."""
    selection = selection_from(asked.words)
    bind(database, selection, asked.routes)
    yield from moving.messages(database, selection, asked.now)


def _busy(database: sqlite3.Connection, asked: Asked) -> Rows:
    """How many recipients that an operation changed are being tried just now."""
    operation = selection_from(asked.words).operation
    yield {"count": reading.count_busy(database, operation)}


def _show(database: sqlite3.Connection, asked: Asked) -> Rows:
    found = reading.show(database, _id(asked.words))
    if found is None:
        raise LookupError(f"{asked.words['id']} is not in the queue; `mta trace` may know what became of it")
    row = asdict(found)
    yield {"id": spell(row.pop("message")), **row, "recipients": [_row(each) for each in found.recipients]}


def _trace(database: sqlite3.Connection, asked: Asked) -> Rows:
    events = reading.trace(database, _id(asked.words))
    if not events:
        raise LookupError(f"nothing is known of {asked.words['id']}")
    yield from map(_event, events)


READING: Mapping[str, Callable[[sqlite3.Connection, Asked], Rows]] = {
    "queue.list": _list,
    "queue.count": _count,
    "queue.preview": _preview,
    "queue.archive": _archive,
    "queue.busy": _busy,
    "queue.show": _show,
    "rules.list": _rules,
    "trace": _trace,
    "undo.list": _operations,
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
        "site": row.site,
        "code": row.code,
        "operation": row.operation,
    }


def _event(event: Event) -> Row:
    return {
        "id": spell(event.message),
        "at": event.at,
        "kind": event.kind.value,
        "recipient": event.recipient,
        "detail": dict(event.detail),
    }

"""
Mail that moves to another queue, and mail that comes from one.

Owns: the words of a message in an archive, and how its history becomes rows here.
Never: writes archives; begins or ends a transaction; imports Twisted.
"""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from collections.abc import Generator
from typing import Any, cast

from mta.entry import State
from mta.events import Event, Kind
from mta.history import History
from mta.ids import spell
from mta.selection import Selection
from mta.spool import chunks, storing
from mta.spool.details import decoded, encoded, storable
from mta.spool.errors import AlreadyHereError, SpoolError
from mta.spool.schema import SpoolConnection
from mta.spool.selecting import IN_QUEUE, where

Row = dict[str, object]

# The words of an operation, which mean nothing in another queue.
_LEFT_BEHIND = ("discarded",)


def messages(database: sqlite3.Connection, selection: Selection, now: float) -> Generator[Row, None, None]:
    """
    Each message with the recipients that are selected, oldest first: {"message", "size"}, its {"content"} in pieces in
    base64, then {"whole": id}, or {"gone": id, "why"} where it left the queue meanwhile or can't be read.
    """
    condition, values = where(selection, now)
    after = -1
    while True:
        found = database.execute(
            "SELECT r.message FROM recipients r JOIN messages m ON m.id = r.message"
            f" WHERE r.message > :after AND {IN_QUEUE} AND {condition} ORDER BY r.message LIMIT 1",
            {**values, "after": after},
        ).fetchone()
        if found is None:
            return
        (after,) = found
        try:
            yield from _message(cast("SpoolConnection", database), after, condition, values, selection.operation)
        except (SpoolError, ValueError, KeyError, TypeError) as error:
            yield {"gone": spell(after), "why": str(error)}


def _message(
    database: SpoolConnection, message: int, condition: str, values: dict[str, object], operation: int | None
) -> Generator[Row, None, None]:
    rows = database.execute(
        "SELECT m.arrived, m.sender, m.size, m.body, m.details, r.address, r.state, r.due, r.attempts, r.last_reply,"
        " ifnull(r.code, ''), r.in_doubt, r.details, r.operation, r.former FROM recipients r"
        f" JOIN messages m ON m.id = r.message WHERE r.message = :message AND {IN_QUEUE} AND {condition}"
        " ORDER BY r.address",
        {**values, "message": message},
    ).fetchall()
    if not rows:
        raise SpoolError("it left the queue")
    arrived, sender, size, body, details = rows[0][:5]
    words = {
        "id": spell(message),
        "arrived": arrived,
        "sender": sender,
        "body": body,
        "details": decoded(details),
        "recipients": [_recipient(row[5:], operation) for row in rows],
    }
    yield {"message": words, "size": size}
    left, number = size, 0
    while left > 0:
        data = chunks.read_chunk(database, message, number, size)
        if not data:
            raise SpoolError("its content is not whole")
        yield {"content": b64encode(data).decode("ascii")}
        left -= len(data)
        number += 1
    yield {"whole": spell(message)}


def _recipient(row: tuple[Any, ...], operation: int | None) -> Row:
    address, state, due, attempts, last_reply, code, in_doubt, details, changed_by, former = row
    if operation is not None and changed_by == operation and former:
        # Held so that it could be read: it goes as it was before.
        before = decoded(former)
        state, due = before["state"], float(before["due"])
    return {
        "address": address,
        "state": state,
        "due": due,
        "attempts": attempts,
        "last_reply": last_reply,
        "code": code,
        "in_doubt": bool(in_doubt),
        "details": {name: value for name, value in decoded(details).items() if name not in _LEFT_BEHIND},
    }


def take_in(database: SpoolConnection, message: int, history: History) -> None:
    """
    Give a message that was just inserted the past it had elsewhere. Raises `AlreadyHereError` where it came before.

    In the transaction that inserts it: a crash can neither lose the memory that it is here, nor double it.
    """
    known = database.execute(
        "INSERT OR IGNORE INTO imported (archive, message) VALUES (?, ?)", (history.archive, history.message)
    )
    if known.rowcount == 0:
        raise AlreadyHereError(f"{spell(history.message)} of this archive was imported before")
    database.executemany(
        "UPDATE recipients SET state = ?, due = ?, attempts = ?, last_reply = ?, code = ?, in_doubt = ?, details = ?"
        " WHERE message = ? AND address = ?",
        [
            (
                past.state.value,
                past.due,
                past.attempts,
                storable(past.last_reply),
                storable(past.code) or None,
                int(past.in_doubt),
                encoded(past.details) if past.details else None,
                message,
                str(past.address),
            )
            for past in history.recipients
        ],
    )
    due = min((past.due for past in history.recipients if past.state is State.QUEUED), default=None)
    database.execute(
        "UPDATE messages SET due = ?, details = ? WHERE id = ?",
        (due, encoded(history.details) if history.details else None, message),
    )
    # Where it came in is told by the event, and how it got there by the other queue's log.
    detail: dict[str, str | int | float | None] = {
        "by": history.by,
        "archive": history.archive,
        "of": spell(history.message),
    }
    storing.write_events(database, (Event(message, history.at, Kind.IMPORTED, None, detail),))

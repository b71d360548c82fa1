"""
What an operator does to the queue, and what age does to the log. Each function runs inside a transaction of its caller.

Owns: hold, release, retry, discard, prune, shrink.
Never: begins or ends a transaction; imports Twisted.

Each change takes `limit` recipients at most and never finds the same one again, so that a caller may repeat it.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from mta.events import Event, Kind
from mta.selection import Selection
from mta.spool import storing
from mta.spool.schema import SpoolConnection
from mta.spool.selecting import CHANGEABLE, where

Pairs = list[tuple[int, str]]
Change = Callable[[SpoolConnection, Selection, str, float, int], Pairs]


def hold(database: SpoolConnection, selection: Selection, by: str, now: float, limit: int) -> Pairs:
    """Stop delivery of what is queued."""
    pairs = _select(database, selection, "hold", now, limit)
    _set(database, "state = 'held'", (), pairs)
    _note(database, pairs, Kind.HELD, by, now)
    _refresh(database, pairs)
    return pairs


def unhold(database: SpoolConnection, selection: Selection, by: str, now: float, limit: int) -> Pairs:
    """Let what is held or in quarantine be delivered, at once; its crashes are forgiven."""
    pairs = _select(database, selection, "release", now, limit)
    _set(database, "state = 'queued', due = ?", (now,), pairs)
    database.executemany("UPDATE messages SET crashes = 0 WHERE id = ?", [(message,) for message in _messages(pairs)])
    _note(database, pairs, Kind.RELEASED, by, now)
    _refresh(database, pairs)
    return pairs


def retry(database: SpoolConnection, selection: Selection, by: str, now: float, limit: int) -> Pairs:
    """Make what waits for a later time due at once."""
    pairs = _select(database, selection, "retry", now, limit)
    _set(database, "due = ?", (now,), pairs)
    _note(database, pairs, Kind.RETRIED, by, now)
    _refresh(database, pairs)
    return pairs


def discard(database: SpoolConnection, selection: Selection, by: str, now: float, limit: int) -> Pairs:
    """
    Drop recipients for good, and tell nobody but the log.

    Where a message is claimed an attempt may be under way: the recipient is marked, and dropped when the claim ends
    without it having been delivered.
    """
    pairs = _select(database, selection, "discard", now, limit)
    claimed = {
        message
        for message in _messages(pairs)
        if database.execute("SELECT 1 FROM messages WHERE id = ? AND claim IS NOT NULL", (message,)).fetchone()
    }
    order = json.dumps({"by": by, "at": now})
    _set(database, "state = 'discarded', details = ?", (order,), pairs)
    for message in _messages(pairs):
        if message not in claimed:
            storing.settle(database, message)
    return pairs


def prune(database: SpoolConnection, before: float, limit: int) -> int:
    """Forget up to `limit` events of finished messages that are older than `before`."""
    found = database.execute(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < ?"
        " AND message NOT IN (SELECT id FROM messages WHERE id = events.message) ORDER BY at LIMIT ?)",
        (before, limit),
    )
    return found.rowcount


def shrink(database: SpoolConnection, spare: int, limit: int) -> int:
    """
    Give up to `limit` free pages back to the file system; how many it were.

    `spare` pages, and half of the others, stay for the next burst: a page that is given back has to be written again.
    """
    (free,) = database.execute("PRAGMA freelist_count").fetchone()
    surplus = min((free - spare) // 2, limit)
    if surplus <= 0:
        return 0
    # One at a time: the module sqlite3 steps once through a statement without columns, and each step frees one page.
    for _ in range(surplus):
        database.execute("PRAGMA incremental_vacuum(1)")
    return int(surplus)


def _select(database: SpoolConnection, selection: Selection, change: str, now: float, limit: int) -> Pairs:
    condition, values = where(selection, now)
    rows = database.execute(
        "SELECT r.message, r.address FROM recipients r JOIN messages m ON m.id = r.message"
        f" WHERE {condition} AND {CHANGEABLE[change]} LIMIT :limit",
        {**values, "now": now, "limit": limit},
    )
    return [(message, address) for message, address in rows]


def _set(database: SpoolConnection, change: str, values: tuple[object, ...], pairs: Pairs) -> None:
    database.executemany(
        f"UPDATE recipients SET {change} WHERE message = ? AND address = ?", [(*values, *pair) for pair in pairs]
    )


def _messages(pairs: Pairs) -> list[int]:
    """The messages of `pairs`, each once, in order."""
    return list(dict.fromkeys(message for message, _address in pairs))


def _note(database: SpoolConnection, pairs: Pairs, kind: Kind, by: str, now: float) -> None:
    storing.write_events(database, [Event(message, now, kind, address, {"by": by}) for message, address in pairs])


def _refresh(database: SpoolConnection, pairs: Pairs) -> None:
    """Note when the messages are due; a claimed one is settled by who holds it."""
    database.executemany(
        "UPDATE messages SET due = (SELECT min(due) FROM recipients"
        " WHERE message = messages.id AND state = 'queued') WHERE id = ? AND claim IS NULL",
        [(message,) for message in _messages(pairs)],
    )

"""
What an operation does to recipients, step by step. Each function runs inside a transaction of its caller.

Owns: the rows of operations, how far each is done, what recipients were before, undoing and forgetting that.
Never: begins or ends a transaction; imports Twisted.

A step changes so many recipients and notes the place up to which it is done in the same transaction. So a daemon that
is killed in the middle goes on from there at its next start, and no step is made twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mta.entry import State
from mta.events import Event, Kind
from mta.order import Command, Order, order_from
from mta.spool import storing
from mta.spool.details import decoded, encoded
from mta.spool.schema import SpoolConnection
from mta.spool.selecting import CHANGEABLE, Routes, bind, where

Pairs = list[tuple[int, str]]

# What a recipient is before an operation: one under the other, so that several can be undone in turn. A script that
# retries all mail each minute must not make the rows longer and longer.
_DEEPEST = 2000
_REMEMBER = (
    # As text: a number of JSON has 15 digits here, and the time of day would come back as another.
    "former = json_object('state', state, 'due', printf('%!.17g', due), 'attempts', attempts,"
    " 'next_hop', CASE WHEN json_valid(details) THEN json_extract(details, '$.next_hop') END, 'operation', operation,"
    f" 'former', CASE WHEN length(former) < {_DEEPEST} THEN json(former) END), operation = :number"
)
_DETAILS = "CASE WHEN json_valid(details) THEN details ELSE '{}' END"
_NO_DETAILS = "nullif({}, '{{}}')"
_CHANGES: Mapping[str, str] = {
    "hold": "state = 'held'",
    "export": "state = 'held'",
    "release": "state = 'queued', due = :at",
    "retry": "due = :at",
    "reroute": f"details = json_set({_DETAILS}, '$.next_hop', :next_hop)",
    "unroute": f"details = {_NO_DETAILS.format(f'''json_remove({_DETAILS}, '$.next_hop')''')}",
    "discard": f"state = 'discarded', details = json_set({_DETAILS}, '$.discarded', json(:ordered))",
    "bounce": f"state = 'queued', due = :at, details = json_set({_DETAILS}, '$.ended', json(:ordered))",
}
_KINDS = {
    Command.HOLD: Kind.HELD,
    Command.EXPORT: Kind.HELD,
    Command.RELEASE: Kind.RELEASED,
    Command.RETRY: Kind.RETRIED,
    Command.REROUTE: Kind.REROUTED,
    Command.BOUNCE: Kind.ENDED,
    Command.UNDO: Kind.RESTORED,
}


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: the recipients that changed, those that stayed, and whether it was the last."""

    changed: Pairs
    stayed: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """A recipient that an operation changed, as it is now and as it was."""

    message: int
    address: str
    state: str
    attempts: int
    details: dict[str, Any]
    former: dict[str, Any]
    is_claimed: bool


def begin(database: SpoolConnection, order: Order) -> int:
    """
    Note an operation that begins; its number.

    Raises ValueError where an UNDO can't be: no such operation, one that is under way, undone or an undo itself.
    """
    if order.command is Command.UNDO:
        _check_undo(database, order)
    inserted = database.execute(
        "INSERT INTO operations (at, orderer, command, words) VALUES (?, ?, ?, ?)",
        (order.at, order.by, order.command.value, encoded(order.words())),
    )
    number = inserted.lastrowid
    assert number is not None
    if order.command is Command.UNDO:
        database.execute("UPDATE operations SET undone_by = ? WHERE number = ?", (number, order.undoes))
    return number


def _check_undo(database: SpoolConnection, order: Order) -> None:
    row = database.execute(
        "SELECT command, ended, undone_by, words FROM operations WHERE number = ?", (order.undoes,)
    ).fetchone()
    if row is None:
        raise ValueError(f"there is no operation {order.undoes}, or it is too old to be undone")
    command, ended, undone_by, words = row
    if command == Command.UNDO.value:
        raise ValueError(f"operation {order.undoes} is an undo itself; give the command again")
    if not ended:
        raise ValueError(f"operation {order.undoes} is still under way")
    if undone_by is not None:
        raise ValueError(f"operation {order.undoes} was undone by operation {undone_by}")
    if json.loads(words).get("for_good"):
        raise ValueError(f"operation {order.undoes} discarded for good")


def unfinished(database: SpoolConnection) -> list[int]:
    """The operations that a daemon which was killed has left in the middle."""
    return [number for (number,) in database.execute("SELECT number FROM operations WHERE ended = 0 ORDER BY number")]


def read_order(database: SpoolConnection, number: int) -> Order:
    """The order of an operation."""
    at, by, command, words = database.execute(
        "SELECT at, orderer, command, words FROM operations WHERE number = ?", (number,)
    ).fetchone()
    return order_from(command, by, at, decoded(words))


def step(database: SpoolConnection, number: int, order: Order, routes: Routes | None, limit: int) -> Step:
    """Do the next part of an operation: `limit` recipients at most."""
    after = database.execute("SELECT message, address FROM operations WHERE number = ?", (number,)).fetchone()
    place = (-1, "") if after[0] is None else after
    if order.command is Command.UNDO:
        done = _undo(database, number, order, place, limit)
    else:
        done = _change(database, number, order, place, routes, limit)
    last, seen, changed, stayed = done
    is_last = seen < limit
    database.execute(
        "UPDATE operations SET changed = changed + ?, message = ?, address = ?, ended = ? WHERE number = ?",
        (len(changed), *(last or place), int(is_last), number),
    )
    if is_last:
        # An operation that found nothing is none.
        database.execute("DELETE FROM operations WHERE number = ? AND changed = 0 AND command <> 'undo'", (number,))
    return Step(changed, stayed, is_last)


_Part = tuple[tuple[int, str] | None, int, Pairs, int]


def _change(
    database: SpoolConnection, number: int, order: Order, place: tuple[int, str], routes: Routes | None, limit: int
) -> _Part:
    bind(database, order.selection, routes)
    condition, values = where(order.selection, order.at)
    rows = database.execute(
        "SELECT r.message, r.address, m.claim IS NOT NULL FROM recipients r JOIN messages m ON m.id = r.message"
        f" WHERE (r.message, r.address) > (:message, :address) AND {CHANGEABLE[order.change]} AND {condition}"
        " ORDER BY r.message, r.address LIMIT :limit",
        {**values, "now": order.at, "message": place[0], "address": place[1], "limit": limit},
    ).fetchall()
    pairs = [(message, address) for message, address, _claimed in rows]
    remember = "former = NULL, operation = NULL" if order.for_good else _REMEMBER
    ordered: dict[str, object] = {"by": order.by, "at": order.at, "operation": number}
    if order.command is Command.BOUNCE:
        ordered["text"] = order.text
    elif not order.for_good:
        ordered["keep"] = True
    common = {"number": number, "at": order.at, "next_hop": order.next_hop, "ordered": encoded(ordered)}
    database.executemany(
        f"UPDATE recipients SET {remember}, {_CHANGES[order.change]} WHERE message = :message AND address = :address",
        [{**common, "message": message, "address": address} for message, address in pairs],
    )
    messages = list(dict.fromkeys(pair[0] for pair in pairs))
    if order.command is Command.RELEASE:
        database.executemany("UPDATE messages SET crashes = 0 WHERE id = ?", [(message,) for message in messages])
    if order.command is Command.DISCARD:
        # Under way it is still to be seen whether it was delivered: who has the claim tells of it, when it ends.
        for message in dict.fromkeys(message for message, _address, claimed in rows if not claimed):
            storing.settle(database, message)
    else:
        _note(database, order, number, pairs)
        refresh(database, messages)
    return (pairs[-1] if pairs else None), len(pairs), pairs, 0


def _note(database: SpoolConnection, order: Order, number: int, pairs: Pairs) -> None:
    detail: dict[str, str | int | float | None] = {"by": order.by, "operation": number}
    if order.command is Command.REROUTE:
        detail["next_hop"] = order.next_hop or None
    elif order.command is Command.BOUNCE:
        detail["reason"] = order.text
    elif order.command is Command.UNDO:
        detail["undoes"] = order.undoes
    kind = _KINDS[order.command]
    storing.write_events(database, [Event(message, order.at, kind, address, detail) for message, address in pairs])


def refresh(database: SpoolConnection, messages: list[int]) -> None:
    """Note when the messages are due; a claimed one is settled by who holds it."""
    database.executemany(
        "UPDATE messages SET due = (SELECT min(due) FROM recipients"
        " WHERE message = messages.id AND state = 'queued') WHERE id = ? AND claim IS NULL",
        [(message,) for message in messages],
    )


def _undo(database: SpoolConnection, number: int, order: Order, place: tuple[int, str], limit: int) -> _Part:
    rows = database.execute(
        "SELECT r.message, r.address, r.state, r.attempts, r.details, r.former, m.claim IS NOT NULL"
        " FROM recipients r JOIN messages m ON m.id = r.message"
        " WHERE r.operation = ? AND (r.message, r.address) > (?, ?) ORDER BY r.message, r.address LIMIT ?",
        (order.undoes, *place, limit),
    ).fetchall()
    assert order.undoes is not None
    undone = read_order(database, order.undoes)
    changed: Pairs = []
    for message, address, state, attempts, details, former, claimed in rows:
        found = _Found(message, address, state, attempts, decoded(details), decoded(former), bool(claimed))
        if _has_moved(found, undone):
            continue
        _restore(database, found)
        changed.append((message, address))
    _note(database, order, number, changed)
    refresh(database, list(dict.fromkeys(message for message, _address in changed)))
    last = (rows[-1][0], rows[-1][1]) if rows else None
    return last, len(rows), changed, len(rows) - len(changed)


def _has_moved(found: _Found, undone: Order) -> bool:
    """Whether something else has become of a recipient since the operation."""
    match undone.command:
        case Command.HOLD | Command.EXPORT:
            return found.state != State.HELD.value
        case Command.RELEASE:
            return found.state != State.QUEUED.value
        case Command.RETRY:
            # What is claimed is on its way, and what has been tried since has got its next time from that.
            return found.state != State.QUEUED.value or found.is_claimed or found.attempts != found.former["attempts"]
        case Command.REROUTE:
            return str(found.details.get("next_hop") or "") != undone.next_hop
        case Command.DISCARD:
            return found.state != State.DISCARDED.value
        case _:  # BOUNCE: once it is claimed the report is being made, and then the recipient is gone
            return found.is_claimed or "ended" not in found.details


def _restore(database: SpoolConnection, found: _Found) -> None:
    former, details = found.former, {**found.details}
    for word in ("discarded", "ended", "next_hop"):
        details.pop(word, None)
    if former.get("next_hop"):
        details["next_hop"] = former["next_hop"]
    below = former.get("operation")
    if below is not None and database.execute("SELECT 1 FROM operations WHERE number = ?", (below,)).fetchone() is None:
        below = None  # forgotten meanwhile: nobody would look for its recipients any more
    deeper = former.get("former") if below is not None else None
    database.execute(
        "UPDATE recipients SET state = ?, due = ?, details = ?, operation = ?, former = ?"
        " WHERE message = ? AND address = ?",
        (
            former["state"],
            float(former["due"]),
            encoded(details) if details else None,
            below if deeper else None,
            json.dumps(deeper) if deeper else None,
            found.message,
            found.address,
        ),
    )


def expire(database: SpoolConnection, before: float, limit: int) -> bool:
    """
    Forget operations older than `before`, `limit` recipients at a time; what they discarded goes for good.

    Returns whether there may be more.
    """
    row = database.execute(
        "SELECT number FROM operations WHERE at < ? AND ended = 1 ORDER BY number LIMIT 1", (before,)
    ).fetchone()
    if row is None:
        return False
    (number,) = row
    found = database.execute(
        "SELECT message, address, state FROM recipients WHERE operation = ? LIMIT ?", (number, limit)
    ).fetchall()
    database.executemany(
        "UPDATE recipients SET operation = NULL, former = NULL WHERE message = ? AND address = ?",
        [(message, address) for message, address, _state in found],
    )
    dropped = [(message, address) for message, address, state in found if state == State.DISCARDED.value]
    database.executemany("DELETE FROM recipients WHERE message = ? AND address = ?", dropped)
    for message in dict.fromkeys(message for message, _address in dropped):
        storing.settle_unclaimed(database, message)
    if len(found) < limit:
        database.execute("DELETE FROM operations WHERE number = ?", (number,))
    return True

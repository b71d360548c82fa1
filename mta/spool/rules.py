"""
The rules that hold mail as it comes. Each function runs inside a transaction of its caller.

Owns: their rows, and what they do to a message that is being accepted.
Never: begins or ends a transaction; imports Twisted.

The rules stand in the memory of each connection that accepts mail (`SpoolConnection.rules`): where there are none a
message costs a look at an empty tuple, and no statement.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mta.address import Address
from mta.envelope import Envelope
from mta.events import Event, Kind
from mta.selection import Selection, Subject, matches, selection_from, words_of
from mta.spool import storing
from mta.spool.details import decoded, encoded
from mta.spool.schema import SpoolConnection


@dataclass(frozen=True, slots=True)
class Rule:
    """Mail that `selection` matches is held as it comes; `by` whom and since when (`at`, seconds since 1970)."""

    number: int
    at: float
    by: str
    selection: Selection


def load(database: SpoolConnection) -> None:
    """Take the rules that stand in the spool into the memory of the connection."""
    rows = database.execute("SELECT number, at, orderer, words FROM rules ORDER BY number").fetchall()
    database.rules = tuple(Rule(number, at, by, selection_from(decoded(words))) for number, at, by, words in rows)


def add(database: SpoolConnection, selection: Selection, by: str, at: float) -> int:
    """Note a rule; its number. It holds on each connection that has `load`ed it."""
    inserted = database.execute(
        "INSERT INTO rules (at, orderer, words) VALUES (?, ?, ?)", (at, by, encoded(words_of(selection)))
    )
    assert inserted.lastrowid is not None
    return inserted.lastrowid


def remove(database: SpoolConnection, number: int) -> bool:
    """Forget a rule; whether there was one."""
    return database.execute("DELETE FROM rules WHERE number = ?", (number,)).rowcount > 0


def apply(
    database: SpoolConnection, message: int, now: float, envelope: Envelope, size: int, *, claimed: bool
) -> Collection[Address]:
    """Hold those recipients of a message, which was just inserted, that a rule matches; who it was."""
    sender = str(envelope.sender) if envelope.sender else ""
    held: dict[Address, Rule] = {}
    for recipient in envelope.recipients:
        subject = Subject(message=message, arrived=now, sender=sender, size=size, recipient=str(recipient.address))
        for rule in database.rules:
            if matches(rule.selection, subject, now):
                held[recipient.address] = rule
                break
    if not held:
        return ()
    database.executemany(
        "UPDATE recipients SET state = 'held' WHERE message = ? AND address = ?",
        [(message, str(address)) for address in held],
    )
    storing.write_events(
        database,
        [
            Event(message, now, Kind.HELD, str(address), {"by": rule.by, "rule": rule.number})
            for address, rule in held.items()
        ],
    )
    if not claimed:  # else whoever has the claim settles it
        storing.settle(database, message)
    return held.keys()

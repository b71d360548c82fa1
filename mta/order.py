"""
What an operator has done to the queue: an order, and the operation that it becomes.

Owns: the commands, an order as a value, its words in the spool.
Never: carries one out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from mta.ids import spell
from mta.selection import Selection, selection_from, words_of

# Seconds for which an operation can be undone, and what it has discarded is kept.
KEPT = 86_400.0


class Command(Enum):
    """What can be done to recipients in the queue."""

    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    REROUTE = "reroute"
    DISCARD = "discard"
    BOUNCE = "bounce"
    EXPORT = "export"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Order:
    """
    A command for all that `selection` means at `at` (seconds since 1970), by an operator.

    `next_hop` is where REROUTE sends, "" takes an earlier one back; `text` is what BOUNCE tells the senders; `undoes`
    is the number of the operation that UNDO takes back. `for_good`: what is DISCARDed is not kept.
    """

    command: Command
    selection: Selection
    by: str
    at: float
    next_hop: str = ""
    text: str = ""
    undoes: int | None = None
    for_good: bool = False

    @property
    def change(self) -> str:
        """Its key in `mta.spool.selecting.CHANGEABLE`."""
        return "unroute" if self.command is Command.REROUTE and not self.next_hop else self.command.value

    def words(self) -> dict[str, object]:
        """What `order_from` reads back beside the command, by whom and when."""
        words: dict[str, object] = {"filter": words_of(self.selection)}
        if self.selection.messages is not None:
            words["ids"] = [spell(message) for message in self.selection.messages]
        for name in ("next_hop", "text", "undoes", "for_good"):
            if value := getattr(self, name):
                words[name] = value
        return words


def order_from(command: str, by: str, at: float, words: Mapping[str, object]) -> Order:
    """The order of an operation in the spool. Raises ValueError."""
    filters = words.get("filter")
    asked = {**filters} if isinstance(filters, dict) else {}
    if "ids" in words:
        asked["ids"] = words["ids"]
    undoes = words.get("undoes")
    return Order(
        Command(command),
        selection_from(asked),
        by,
        at,
        str(words.get("next_hop") or ""),
        str(words.get("text") or ""),
        undoes if isinstance(undoes, int) else None,
        bool(words.get("for_good")),
    )


@dataclass(frozen=True, slots=True)
class Done:
    """
    What became of an order: which (message, address text) pairs changed.

    `operation` is its number, None where nothing changed. `stayed` counts the recipients that an UNDO found to have
    moved on since.
    """

    order: Order
    operation: int | None
    changed: list[tuple[int, str]] = field(default_factory=list)
    stayed: int = 0

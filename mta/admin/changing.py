"""
The commands that change the queue: hold, release, retry, discard.

Owns: their words, and the order spool first, queue manager second.
Never: reads the spool, or knows which connection asked.
Fails: ValueError for a bad word, `SpoolError` where the spool can't write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from mta.interfaces import IQueue, ISpool
from mta.selection import Selection, is_everything, selection_from

Changed = list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Change:
    """How a command changes the spool, and whether what it changed must leave the manager's window."""

    apply: Callable[[ISpool], Callable[[Selection, str, float], Deferred[Changed]]]
    withdraws: bool


CHANGES: Mapping[str, Change] = {
    "queue.hold": Change(lambda spool: spool.hold, withdraws=True),
    "queue.release": Change(lambda spool: spool.unhold, withdraws=False),
    "queue.retry": Change(lambda spool: spool.retry, withdraws=False),
    "queue.discard": Change(lambda spool: spool.discard, withdraws=True),
}


def selected(words: Mapping[str, object]) -> Selection:
    """The recipients that a request means. Raises ValueError, also for everything without `all`."""
    filters = dict(words)
    everything = filters.pop("all", False)
    if not isinstance(everything, bool):
        raise ValueError("all must be true or false")
    selection = selection_from(filters)
    if is_everything(selection) and not everything:
        raise ValueError("name messages or a filter, or say --all to change the whole queue")
    if everything and not is_everything(selection):
        raise ValueError("--all and a filter contradict each other")
    return selection


async def change(change: Change, selection: Selection, spool: ISpool, queue: IQueue, by: str, now: float) -> Changed:
    """Do it; which (message, address text) pairs changed."""
    pairs = await change.apply(spool)(selection, by, now)
    # Only after it is on disk: the manager may otherwise load again what it just dropped.
    if change.withdraws:
        queue.withdraw(pairs)
    elif pairs:
        queue.due_changed()
    return pairs

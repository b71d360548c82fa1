"""
What is in memory of the queue.

Owns: the active message, and the job: one transaction to be, with the recipients that share a destination.
Never: starts a job (`turns.py`) or records what became of it (`recording.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mta.destination import Destination
from mta.entry import Entry, QueuedRecipient, Result
from mta.events import Event
from mta.outcome import Deferral, Failure


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A recipient that failed for good: by a `Failure`, or by a `Deferral` after its lifetime ended."""

    recipient: QueuedRecipient
    outcome: Failure | Deferral


@dataclass(slots=True, eq=False)
class Active:
    """
    A claimed message in the window.

    `jobs` counts those not yet concluded. `results`, `events` and `undelivered` wait for a report to the spool, the
    latter for the last one, so that the sender gets one bounce; `is_reporting` while one is not on disk yet.
    `withdrawn` are recipients that an operator took away; `crash` is the text of an exception of ours.
    """

    entry: Entry
    expiry: float
    jobs: int = 0
    results: list[Result] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    undelivered: list[Undelivered] = field(default_factory=list)
    is_reporting: bool = False
    withdrawn: set[str] = field(default_factory=set)
    crash: str = ""


@dataclass(slots=True, eq=False)
class Job:
    """One transaction to be; `began` is when its attempt started, in seconds since 1970."""

    active: Active
    destination: Destination
    recipients: list[QueuedRecipient]
    began: float = 0.0

"""
What is in memory of the queue.

Owns: the active message, and the job: one transaction to be, with the recipients that share a destination.
Never: starts a job (`turns.py`) or records what became of it (`recording.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mta.address import Address
from mta.destination import Destination
from mta.entry import Entry, QueuedRecipient, Result
from mta.envelope import Envelope
from mta.events import Event
from mta.message.dsn_status import Action
from mta.outcome import Outcome


@dataclass(frozen=True, slots=True)
class News:
    """
    What a sender may want to know of a recipient.

    Failed: `outcome` is a `Failure`, or the `Deferral` after its lifetime ended. Delayed: `outcome` is a `Deferral`,
    `due` the time of the next try, and `counts` False where none was made now. Expanded: there is no outcome.
    """

    recipient: QueuedRecipient
    action: Action
    outcome: Outcome | None
    due: float = 0.0
    counts: bool = True


@dataclass(slots=True, eq=False)
class Active:
    """
    A claimed message in the window.

    `jobs` counts those not yet concluded. `results` and `events` wait for the next report to the spool, and `good_news`
    (of what is among the results) goes out with it; `bad_news` waits for the last one, so that the sender gets one
    bounce; `is_reporting` while one is not on disk yet. `withdrawn` are recipients that an operator took away; `crash`
    is the text of an exception of ours. `is_aside`: it goes back to the spool, for its site is dead; `waits_for` is the
    site, where the message stays there until that answers.
    """

    entry: Entry
    expiry: float
    jobs: int = 0
    results: list[Result] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    good_news: list[News] = field(default_factory=list)
    bad_news: list[News] = field(default_factory=list)
    is_reporting: bool = False
    withdrawn: set[str] = field(default_factory=set)
    crash: str = ""
    is_aside: bool = False
    waits_for: str | None = None

    @property
    def has_more(self) -> bool:
        """Whether something is not on disk yet, or will be to tell: the claim is kept."""
        return bool(self.jobs > 0 or self.crash or self.results or self.events or self.good_news or self.bad_news)


@dataclass(slots=True, eq=False)
class Job:
    """
    One transaction to be; `planned` is when its destination was known, `began` when its attempt started, in seconds
    since 1970.

    `rules` say how each of its recipients came to this destination; an event tells it once there is an attempt.
    `marked`: for whom a host may have got the whole message.
    """

    active: Active
    destination: Destination
    recipients: list[QueuedRecipient]
    planned: float = 0.0
    began: float = 0.0
    rules: list[str] = field(default_factory=list)
    marked: set[Address] = field(default_factory=set)

    def withdraw(self) -> None:
        """Leave out whom an operator took away."""
        withdrawn = self.active.withdrawn
        left = [pair for pair in zip(self.recipients, self.rules, strict=True) if str(pair[0].address) not in withdrawn]
        self.recipients, self.rules = [recipient for recipient, _rule in left], [rule for _recipient, rule in left]

    def envelope(self) -> Envelope:
        """The envelope of the transaction."""
        return self.active.entry.envelope(self.recipients)

"""
The ledger of a simulation: what was promised, what arrived where, and what the program says it did.

Owns: these facts, as they are seen from outside (clients, sites) and from the event log.
Never: judges them (`mta/sim/invariants.py`) or counts them for people (`mta/sim/totals.py`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from mta.events import Event


@dataclass(frozen=True, slots=True)
class Promise:
    """A message for one recipient that we acknowledged to its client with 250, at `at`; `message` is its queue id."""

    token: int
    recipient: str
    at: float
    message: int | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    A message that a site has taken for one recipient.

    `acknowledged`: the site said so; else it closed without a word. `whole`: its content is the one that was sent.
    `token` is None for what is no message of a load; then it is a report, and `about` is the token of what it tells of.
    `message` is our queue id of it, as its trace field or its Message-ID has it.
    """

    site: str
    recipient: str
    at: float
    token: int | None
    about: int | None
    acknowledged: bool
    whole: bool
    message: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 5xx that a site gave us for one recipient of a message, or for all of them ("*") in reply to MAIL."""

    site: str
    sender: str
    recipient: str
    at: float
    reply: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two transactions with the same message (by its queue id) for the same recipient were open at once."""

    site: str
    message: int
    recipient: str
    at: float


@dataclass(slots=True)
class SiteFigures:
    """
    What a site has seen: connections now and at most, messages in the current minute and in the busiest.

    `asked` counts MAIL commands. `peak_ahead` is by how much the connections were ahead of them at most: what we may
    open before the site has answered anything.
    """

    connections: int = 0
    peak_connections: int = 0
    asked: int = 0
    peak_ahead: int = 0
    transactions: int = 0
    messages: int = 0
    minute: int = 0
    in_minute: int = 0
    peak_rate: int = 0

    def connected(self) -> None:
        self.connections += 1
        self.peak_connections = max(self.peak_connections, self.connections)
        self.peak_ahead = max(self.peak_ahead, self.connections - self.asked)

    def took(self, now: float) -> None:
        self.messages += 1
        minute = int(now // 60)
        self.in_minute = self.in_minute + 1 if minute == self.minute else 1
        self.minute = minute
        self.peak_rate = max(self.peak_rate, self.in_minute)


@dataclass(slots=True)
class Happening:
    """A line of the timeline: `at` in seconds since 1970."""

    at: float
    text: str


@dataclass(slots=True)
class Ledger:
    """
    Everything that was seen; lists are in the order of time.

    `sent` has (sender, recipients, size) by token. `clients_refused` counts by reply code the recipients that our own
    server refused. `faults` are exceptions of ours that were logged. `events` is the event log.
    """

    sent: dict[int, tuple[str, tuple[str, ...], int]] = field(default_factory=dict)
    strangers: set[int] = field(default_factory=set)  # tokens of clients that may not relay
    promises: list[Promise] = field(default_factory=list)
    promised: set[tuple[int, str]] = field(default_factory=set)
    repeated: set[int] = field(default_factory=set)  # tokens that a client sent again, not knowing
    clients_refused: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    arrivals: list[Arrival] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    sites: dict[str, SiteFigures] = field(default_factory=dict)
    happenings: list[Happening] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    crashes: list[float] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)

    def promise(self, token: int, recipient: str, at: float, message: int | None) -> None:
        """A client was told 250, with the queue id `message`."""
        self.promised.add((token, recipient))
        self.promises.append(Promise(token, recipient, at, message))

    def site(self, name: str) -> SiteFigures:
        """The figures of a site, made where it is new."""
        figures = self.sites.get(name)
        if figures is None:
            figures = self.sites[name] = SiteFigures()
        return figures

    def note(self, at: float, text: str) -> None:
        """Something for the timeline."""
        self.happenings.append(Happening(at, text))

"""
The accounts of a crash campaign: what was sent and acknowledged, what arrived where, when the daemon was killed.

Owns: the judgement: what is lost, torn or doubled, and why something was doubled.
Never: talks to anybody. Times are those of one clock, in seconds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from threading import Lock

# Each message begins with this field, so that what we and the sites put before it does not matter.
MARK = b"X-Campaign: "

# Seconds that the record of a delivery may take to reach the disk. A kill later than that does not explain a second
# delivery: the first one should have been on record.
RECORDED_WITHIN = 1.0

Key = tuple[str, str]  # the token of a message, a recipient


class Side(Enum):
    """Whose 250 it is that a kill waits for."""

    CLIENT = "a client has a 250"
    SITE = "a site has sent a 250"


class Reply(Enum):
    """What the site said at the end of a message that it took."""

    SENT = "250 sent"
    LOST = "taken, and the connection cut before the 250"


class Cause(Enum):
    """Why a recipient got a message again."""

    REPLY_LOST = "the site took it and cut the connection before its reply"
    KILLED = "its attempt was in flight at a kill"
    NONE = "no cause is known"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that a site took for a recipient: when its connection began, its MAIL was read, the reply went out."""

    token: str
    recipient: str
    digest: str
    began: float
    asked: float
    replied: float
    reply: Reply

    @property
    def key(self) -> Key:
        return self.token, self.recipient


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that a client sent, and whether it was told 250."""

    digest: str
    recipients: tuple[str, ...]
    acknowledged: bool
    queue_id: str = ""


@dataclass(slots=True)
class Verdict:
    """What a campaign found. Counts are of recipients, but for `acknowledged` and `unanswered`, which are messages."""

    acknowledged: int = 0
    unanswered: int = 0
    owed: int = 0
    arrived: int = 0
    in_queue: int = 0
    unasked: int = 0
    lost: list[Key] = field(default_factory=list)
    torn: list[Key] = field(default_factory=list)
    doubled: Counter[Cause] = field(default_factory=Counter)
    unexplained: list[Key] = field(default_factory=list)
    longest_in_flight: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.lost or self.torn or self.unexplained)


def token_and_digest(content: bytes) -> tuple[str, str]:
    """The token of a message and the hash of it from its mark on; ("", "") where there is no mark."""
    start = content.find(MARK)
    if start < 0:
        return "", ""
    token = content[start + len(MARK) :].split(b"\r\n", 1)[0]
    return token.decode("ascii", "replace"), hashlib.sha256(content[start:]).hexdigest()


class Ledger:
    """
    Written by clients and sites in their threads, read at the end.

    `traps` has what to do at the next 250 of one side, once, in the thread that saw it: a kill at the worst moment.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._sent: dict[str, Sent] = {}
        self._arrivals: list[Arrival] = []
        self.kills: list[float] = []
        self.traps: dict[Side, Callable[[], None]] = {}

    def spring(self, side: Side) -> None:
        """A 250 was read by a client, or sent by a site."""
        if self.traps and (trap := self.traps.pop(side, None)):
            trap()

    def send(self, token: str, sent: Sent) -> None:
        """A client is about to send a message, or knows more of one."""
        with self._lock:
            self._sent[token] = sent

    def arrive(self, arrivals: Iterable[Arrival]) -> None:
        """A site took a message."""
        with self._lock:
            self._arrivals.extend(arrivals)

    def counts(self) -> tuple[int, int]:
        """Messages acknowledged, recipients reached."""
        with self._lock:
            return sum(sent.acknowledged for sent in self._sent.values()), len(self._arrivals)

    def judge(self, in_queue: Iterable[tuple[str, str, str]]) -> Verdict:
        """The verdict; `in_queue` has (token, recipient, digest) of all that the spool still holds."""
        verdict = Verdict()
        arrivals: dict[Key, list[Arrival]] = {}
        for arrival in self._arrivals:
            arrivals.setdefault(arrival.key, []).append(arrival)
        waiting = {(token, recipient): digest for token, recipient, digest in in_queue}
        verdict.in_queue = len(waiting)
        for token, sent in self._sent.items():
            verdict.acknowledged += sent.acknowledged
            verdict.unanswered += not sent.acknowledged
            for key in ((token, recipient) for recipient in sent.recipients):
                there = arrivals.get(key, [])
                verdict.owed += sent.acknowledged
                verdict.arrived += bool(there)
                verdict.unasked += bool(there) and not sent.acknowledged
                if sent.acknowledged and not there and key not in waiting:
                    verdict.lost.append(key)
        for key in [*arrivals, *waiting]:
            known = self._sent.get(key[0])
            digests = {arrival.digest for arrival in arrivals.get(key, [])}
            digests |= {waiting[key]} if key in waiting else set()
            if known is None or key[1] not in known.recipients or digests != {known.digest}:
                verdict.torn.append(key)
        for key, there in arrivals.items():
            self._explain(key, there, verdict)
        return verdict

    def _explain(self, key: Key, there: list[Arrival], verdict: Verdict) -> None:
        """All arrivals but one need a reason why the daemon went on: one may be the end of it."""
        if len(there) < 2:
            return
        latest = max(arrival.asked for arrival in there)
        causes = sorted((self._cause(arrival, latest) for arrival in there), key=lambda found: found[0] is Cause.NONE)
        for cause, waited in causes[:-1]:
            verdict.doubled[cause] += 1
            verdict.longest_in_flight = max(verdict.longest_in_flight, waited)
            if cause is Cause.NONE:
                verdict.unexplained.append(key)

    def _cause(self, arrival: Arrival, latest: float) -> tuple[Cause, float]:
        """Why it went out again, and for how long the daemon may have had the reply when it was killed."""
        if arrival.reply is Reply.LOST:
            return Cause.REPLY_LOST, 0.0
        for kill in self.kills:
            # What a dead process had sent may be read later, so its connection counts; a worker that goes on has
            # connections from before the kill, so of the last arrival the transaction counts.
            if arrival.began <= kill <= latest and kill <= arrival.replied + RECORDED_WITHIN:
                return Cause.KILLED, max(0.0, kill - arrival.replied)
        return Cause.NONE, 0.0

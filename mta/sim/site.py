"""
A remote site of the world: its hosts, and what it makes of the mail that comes.

Owns: how it behaves at each time, its greylist and its limits; what it takes goes into the ledger.
Never: speaks SMTP (`mta/sim/remote_server.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fnmatch import fnmatchcase

from twisted.internet.interfaces import IReactorTime

from mta.sim.ledger import Arrival, Ledger, Overlap, Refusal
from mta.sim.message import is_whole, own_token_of, queue_id_of, token_of
from mta.sim.scenario import Behaviour, Place, Site

_HEALTHY = Behaviour()


class RemoteSite:
    """
    `addresses` are the IP addresses of its hosts; `start` is when the simulation began, in seconds since 1970.

    A site that no scenario names is healthy.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        time: IReactorTime,
        rng: random.Random,
        ledger: Ledger,
        start: float,
        site: Site | None = None,
    ) -> None:
        self.name = name
        self.addresses = tuple(addresses)
        self.time = time
        self.rng = rng
        self.figures = ledger.site(name)
        self._ledger = ledger
        self._start = start
        self._usual: Behaviour = site or _HEALTHY
        self._spells = site.spells if site else ()
        self._first_seen: dict[tuple[str, str], float] = {}
        self._open: dict[tuple[int, str], int] = {}
        self._begun = (0, 0)  # a minute, and how many messages were begun in it

    @property
    def behaviour(self) -> Behaviour:
        """How it behaves now."""
        if self._spells:
            at = self.time.seconds() - self._start
            for spell in self._spells:
                if spell.begin <= at < spell.end:
                    return spell
        return self._usual

    @property
    def is_silent(self) -> bool:
        """Whether packets to it are lost."""
        return self.behaviour.state == "down"

    def chance(self, share: float) -> bool:
        """Whether something that happens to this share of all happens now."""
        return share >= 1.0 or (share > 0.0 and self.rng.random() < share)

    # Replies

    def greeting(self) -> str | None:
        """What it says to a new connection in the place of 220, if anything."""
        limit = self.behaviour.connections
        if limit and self.figures.connections > limit:
            return "421 4.7.0 too many connections from your host"
        return self.answer("greeting", "*")

    def answer(self, at: Place, recipient: str) -> str | None:
        """What it says in the place of a good reply, if anything."""
        for answer in self.behaviour.answers:
            fits = answer.at == at and (answer.recipients == "*" or fnmatchcase(recipient, answer.recipients))
            if fits and self.chance(answer.share):
                return answer.reply
        return None

    def sender_reply(self) -> str | None:
        """What it says to MAIL, if it takes no more now."""
        limit = self.behaviour.messages_per_minute
        if limit:
            minute = int(self.time.seconds() // 60)
            begun = self._begun[1] if self._begun[0] == minute else 0
            if begun >= limit:
                return "421 4.7.0 too many messages, slow down"
            self._begun = (minute, begun + 1)
        return self.answer("mail", "*")

    def recipient_reply(self, sender: str, recipient: str) -> str | None:
        """What it says to RCPT, if not 250."""
        greylist = self.behaviour.greylist
        if greylist:
            now = self.time.seconds()
            first = self._first_seen.setdefault((sender, recipient), now)
            if now - first < greylist:
                return "450 4.7.1 greylisted, try again later"
        return self.answer("rcpt", recipient)

    # What it sees

    def refused(self, sender: str, recipients: Sequence[str], reply: str) -> None:
        """It gave a 5xx, `reply`, for these recipients."""
        at = self.time.seconds()
        self._ledger.refusals.extend(Refusal(self.name, sender, recipient, at, reply) for recipient in recipients)

    def began(self, message: int, recipients: Sequence[str]) -> None:
        """The content of a message (by our queue id) for these recipients is coming in."""
        for recipient in recipients:
            number = self._open[message, recipient] = self._open.get((message, recipient), 0) + 1
            if number > 1:
                self._ledger.overlaps.append(Overlap(self.name, message, recipient, self.time.seconds()))

    def ended(self, message: int, recipients: Sequence[str]) -> None:
        """The transaction with that content is over."""
        for recipient in recipients:
            if self._open[message, recipient] == 1:
                del self._open[message, recipient]
            else:
                self._open[message, recipient] -= 1

    def took(self, recipients: Sequence[str], content: bytes, acknowledged: bool) -> None:
        """It has a message now; `acknowledged` if it will say so."""
        now = self.time.seconds()
        self.figures.took(now)
        found = token_of(content)
        token = own_token_of(content)
        if token not in self._ledger.sent:  # the header of somebody's real message, from a copy of the queue
            token = None
        whole = token is not None and is_whole(content, token, self._ledger.sent[token][2])
        message = queue_id_of(content)
        self._ledger.arrivals.extend(
            Arrival(self.name, recipient, now, token, found, acknowledged, whole, message) for recipient in recipients
        )

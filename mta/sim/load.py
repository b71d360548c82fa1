"""
The clients of a simulation: each sends the mail of one load, as a mail server would.

Owns: when each message is sent, how often it is tried, what of it the client was told.
Never: knows what becomes of a message behind our reply.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.address import Address, parse_address
from mta.delivery.connecting import Connector, Server
from mta.delivery.connection import ClientConnection
from mta.delivery.content import PIECE, WholeContent
from mta.delivery.timeouts import ClientTimeouts
from mta.destination import Destination, Host, NextHop, Transport
from mta.envelope import Envelope, Recipient
from mta.ids import parse_id
from mta.interfaces import IContent
from mta.outcome import Deferral, Delivered, Failure, Phase
from mta.sim.ledger import Ledger
from mta.sim.machine import Machine
from mta.sim.message import compose
from mta.sim.scenario import Load
from mta.smtp.client_events import TransactionDone
from mta.smtp.transaction import Transaction

_TIMEOUTS = ClientTimeouts(30, 300, 300, 120, 300, 300, 120, 180, 600, 20, 5, 5, 300)
# Messages over one connection: below what a server offers at the least (RFC 9422 MAILMAX).
_PER_CONNECTION = 50
# How our server names the message that it has taken.
_QUEUED = re.compile(r"queued as ([0-9A-Z]{13})\b")


@dataclass(slots=True)
class _Outgoing:
    """A message that the client still has, and whom for."""

    token: int
    sender: Address | None
    recipients: list[Address]
    size: int
    tries: int = 0


@dataclass(slots=True)
class _State:
    waiting: deque[_Outgoing] = field(default_factory=deque)
    sessions: int = 0
    left: int = 0  # messages that are not settled


@implementer(IContent)
class _InPieces:
    """Content that takes its time to be sent: nobody writes a large message in one go."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def whole(self) -> None:
        return None

    def chunk(self, index: int) -> Deferred[bytes]:
        return succeed(self._data[index * PIECE : (index + 1) * PIECE])


class LoadClient:
    """
    Sends the mail of `load` from `machine` to our listener at `place`; tokens count from `first_token`.

    `sizes` draws the size of each message beforehand, so that the order of what happens does not change them.
    """

    def __init__(
        self, load: Load, machine: Machine, place: tuple[str, int], *, lmtp: bool, first_token: int, ledger: Ledger
    ) -> None:
        self._load = load
        self._machine = machine
        self._ledger = ledger
        self._server = Server("us", *place)
        transport = Transport.LMTP if lmtp else Transport.SMTP
        self._destination = Destination(NextHop(transport, place[0], place[1]), "us", (Host(*place),))
        self._connector = Connector(
            reactor=machine,  # type: ignore[arg-type]
            timeouts=_TIMEOUTS,
            hello="client.load.test",
            bdat=False,
            source_address=machine.address,
            base=Path(),
            freed=_ignore,
            gone=self._gone,
        )
        self._first_token = first_token
        self._state = _State(left=load.messages)

    @property
    def left(self) -> int:
        """Messages that are not settled yet."""
        return self._state.left

    def start(self, sizes: list[int]) -> None:
        """Let every message be sent at its time; `sizes` has one for each."""
        load = self._load
        gap = max(0.0, load.end - load.begin) / max(1, load.messages)
        for number in range(load.messages):
            self._machine.callLater(load.begin + gap * number, self._send, number, sizes[number])

    def _send(self, number: int, size: int) -> None:
        load, token = self._load, self._first_token + number
        sender = load.sender.replace("{n}", str(number))
        count = load.recipients_per_message
        recipients = [
            parse_address(
                load.recipients[(number * count + each) % len(load.recipients)].replace("{n}", text), utf8=True
            )
            for each, text in ((each, str(number * count + each)) for each in range(count))
        ]
        recipients = list(dict.fromkeys(recipients))
        self._ledger.sent[token] = (sender, tuple(map(str, recipients)), size)
        outgoing = _Outgoing(token, parse_address(sender, utf8=True) if sender else None, recipients, size)
        self._queue(outgoing)

    def _queue(self, outgoing: _Outgoing) -> None:
        state = self._state
        state.waiting.append(outgoing)
        if state.sessions < self._load.sessions:
            state.sessions += 1
            self._connector.connect(self._destination, self._server).addCallback(self._connected)

    def _connected(self, opened: ClientConnection | Deferral) -> None:
        if isinstance(opened, Deferral):
            if opened.phase is Phase.CONNECT:  # else the connection was there, and `_gone` counts it
                self._state.sessions -= 1
            self._later([self._state.waiting.popleft() for _ in range(min(1, len(self._state.waiting)))])
        else:
            self._next(opened)

    def _next(self, connection: ClientConnection) -> None:
        """Send the next message over a connection that is ready, or take leave."""
        waiting = self._state.waiting
        if not waiting or connection.transactions >= _PER_CONNECTION:
            connection.quit()
            return
        outgoing = waiting.popleft()
        outgoing.tries += 1
        data = compose(outgoing.token, outgoing.size)
        content = WholeContent(data) if len(data) <= PIECE else _InPieces(data)
        utf8 = any(each.needs_utf8 for each in (*outgoing.recipients, *filter(None, [outgoing.sender])))
        envelope = Envelope(outgoing.sender, tuple(map(Recipient, outgoing.recipients)), utf8=utf8)
        done = connection.transact(Transaction(envelope, content.size), content, _unmarked)
        done.addCallback(self._done, outgoing, connection)

    def _done(self, done: TransactionDone, outgoing: _Outgoing, connection: ClientConnection) -> None:
        now = self._machine.seconds()
        again: list[Address] = []
        for recipient, outcome in done.outcomes.items():
            if isinstance(outcome, Delivered):
                found = _QUEUED.search(outcome.reply.raw) if outcome.reply else None
                self._ledger.promise(outgoing.token, str(recipient), now, parse_id(found[1]) if found else None)
            elif isinstance(outcome, Failure):
                self._ledger.clients_refused[outcome.reply.code if outcome.reply else 0] += 1
            else:
                again.append(recipient)
                code = outcome.reply.code if outcome.reply else 0
                self._ledger.clients_refused[code] += 1
                if not code and outcome.phase is Phase.END_OF_DATA:
                    self._ledger.repeated.add(outgoing.token)
        if again:
            outgoing.recipients = again
            self._later([outgoing])
        else:
            self._state.left -= 1
        if connection.is_ready:
            # In a turn of its own: the server's word on one message has been heard before the next one begins.
            self._machine.callLater(0, self._next_if_ready, connection)

    def _next_if_ready(self, connection: ClientConnection) -> None:
        if connection.is_ready:
            self._next(connection)

    def _gone(self, _connection: ClientConnection) -> None:
        self._state.sessions -= 1
        if self._state.waiting:
            self._queue(self._state.waiting.popleft())

    def _later(self, items: list[_Outgoing]) -> None:
        for outgoing in items:
            self._machine.callLater(self._load.patience, self._queue, outgoing)


def _unmarked(_recipients: object, _host: str) -> Deferred[None]:
    """A client that forgets what it has sent when it dies needs no mark."""
    return succeed(None)


def _ignore(_connection: ClientConnection) -> None:
    """The client looks itself whether a connection is ready."""

"""
Any bytes on the control socket: one last line of JSON for each request, no fault, the same at every cut.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from fuzz.input import cut, options, text
from mta.admin.control import MAX_LINE, ControlProtocol, Daemon
from mta.interfaces import ISpool, ISurgery
from mta.order import Done, Order
from mta.selection import Selection, selection_from
from tests.server.fakes import FakeQueue, FakeSpool

Row = dict[str, Any]
READS = frozenset(("queue.list",))

# Requests of one input at most: three times tens of thousands, instrumented, take longer than an input may.
LINES = 1000

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b'{"command": "status"}\n',
    b'{"command": "queue.list"}\n',
    b'{"command": "queue.hold", "all": true}\n',
    b'{"command": "queue.discard", "ids": ["00000000000AB"]}\n',
    b'{"command": "send", "recipients": ["a"], "size": 5}\n',
    b'"sender": "a@b", ',
    b'"full_name": "x", ',
    b'"state": "held"',
    b'"domain": "b.test"',
    b'"recipient": "*"',
    b'"ids": [',
    b'{"command": "queue.reroute", "all": true, "to": "mx:"}\n',
    b'{"command": "queue.bounce", "domain": "b.test", "text": "x"}\n',
    b'{"command": "undo", "operation": 1}\n',
    b'{"command": "rules.add", "larger": 1}\n',
    b'{"command": "rules.remove", "rule": 1}\n',
    b'"older": 1, "larger": 2',
    b"\n",
    b"[",
    b"{",
    b"\\ud800",
    b"1e999",
    b"NaN",
    b"a: b\r\n\r\nc",
)


@implementer(ISurgery)
class _Surgery:
    """Every operation finds the same recipient."""

    def operate(self, order: Order, routes: object = None) -> Deferred[Done]:  # noqa: ARG002
        return succeed(Done(order, 1, [(1, "a@b.test")]))

    def resume(self, routes: object = None) -> Deferred[list[Done]]:  # noqa: ARG002
        return succeed([])

    def add_rule(self, selection: Selection, by: str, at: float) -> Deferred[int]:  # noqa: ARG002
        return succeed(1)

    def remove_rule(self, number: int) -> Deferred[bool]:
        return succeed(number == 1)

    def load_rules(self) -> Deferred[None]:
        return succeed(None)

    def expire(self, before: float) -> Deferred[None]:  # noqa: ARG002
        return succeed(None)


class _Queue(FakeQueue):
    """A queue that takes withdrawals."""

    def withdraw(self, pairs: object) -> None:
        """They are gone."""


class _Wire(StringTransport):
    """A client that reads what it gets and hangs up when the daemon does."""

    def __init__(self) -> None:
        super().__init__(peerAddress=cast("IAddress", None))

    def abortConnection(self) -> None:
        self.disconnecting = True


def _read(_command: str, words: Mapping[str, object]) -> Generator[list[Row], None, None]:
    selection: Selection = selection_from(words)
    yield [{"selection": str(selection)}]


def _answers(pieces: list[bytes]) -> bytes:
    clock = Clock()
    daemon = Daemon(
        spool=cast("ISpool", FakeSpool()),
        surgery=_Surgery(),
        queue=_Queue(),
        read=_read,
        read_commands=READS,
        run_in_thread=maybeDeferred,
        clock=clock,
        hostname="mx.test",
        message_size=1000,
        storage_room=lambda: True,
        user_name=str,
        status=lambda: succeed({"queued": 1}),
    )
    protocol, wire = ControlProtocol(daemon), _Wire()
    protocol.makeConnection(wire)
    for piece in pieces:
        if wire.disconnecting:
            break
        protocol.dataReceived(piece)
        assert len(protocol._buffer) <= MAX_LINE + len(piece)
    protocol.connectionLost()
    answer: bytes = wire.value()
    return answer


def target(data: bytes) -> None:
    """The first octet is the seed of the cuts."""
    seed, _ = options(data)
    said = b"\n".join(text(data).split(b"\n", LINES)[:LINES])
    whole = _answers([said])
    assert whole.isascii()
    assert whole.endswith(b"\n") or not whole
    rows = [json.loads(line) for line in whole.splitlines()]
    assert all(isinstance(row, dict) for row in rows)
    assert not [row for row in rows if "internal error" in str(row.get("error"))], rows
    assert sum("ok" in row for row in rows) <= said.count(b"\n") + 1, rows
    for number in range(2):
        assert _answers(list(cut(said, seed + number))) == whole, whole

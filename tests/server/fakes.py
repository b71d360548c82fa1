"""A listener with fakes around it: a spool whose answers the test gives, a queue, a peer on an in-memory transport."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.entry import Entry, QueuedRecipient
from mta.envelope import Envelope, Origin
from mta.interfaces import IQueue, IReceiving, ISpool
from mta.policy.clients import Networks
from mta.policy.directory import Directory
from mta.policy.limits import Connections, ServerLimits
from mta.policy.relay import RelayPolicy
from mta.selection import Selection
from mta.server.factory import ServerFactory
from mta.server.protocol import ServerProtocol
from tests.policy.limits import limits_for_tests

HOSTNAME = "mx.example.org"
STRANGER = "192.0.2.1"
TRUSTED = "10.0.0.1"


class FakeSpoolError(Exception):
    """What the fake spool fails with."""


@implementer(IReceiving)
class FakeReceiving:
    """Keeps what is written; `FakeSpool` says when it answers."""

    def __init__(self, spool: FakeSpool, message: int) -> None:
        self.message = message
        self.data = b""
        self.aborted = False
        self._spool = spool

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, data: bytes) -> Deferred[None] | None:
        if self._spool.writing is not None:
            raise self._spool.writing
        self.data += data
        if not self._spool.full:
            return None
        room: Deferred[None] = Deferred()
        self._spool.room.append(room)
        return room

    def commit(self, envelope: Envelope, origin: Origin, now: float, claim: bool) -> Deferred[Entry]:
        if self._spool.committing is not None:
            return fail(self._spool.committing)
        entry = Entry(
            self.message,
            now,
            envelope.sender,
            len(self.data),
            envelope.body,
            [
                QueuedRecipient(to.address, notify=to.notify, orcpt=to.orcpt, named=to.named)
                for to in envelope.recipients
            ],
            self.data,
            envelope.utf8,
            envelope.ret,
            envelope.envid,
            envelope.expanded,
            envelope.require_tls,
        )
        committed = (entry, origin, claim)
        if not self._spool.slow:
            self._spool.committed.append(committed)
            return succeed(entry)
        waiting: Deferred[Entry] = Deferred()
        self._spool.waiting.append((waiting, committed))
        return waiting

    def abort(self) -> None:
        self.aborted = True


class FakeSpool:
    """
    A spool of which only `receive` and `retry` are there; `retry` answers with `due`.

    `full`: each write waits until `make_room`. `slow`: each commit waits until `finish`. `writing`, `committing`: what
    a write raises, what a commit fails with.
    """

    def __init__(self) -> None:
        self.received: list[FakeReceiving] = []
        self.committed: list[tuple[Entry, Origin, bool]] = []
        self.full = False
        self.slow = False
        self.room: list[Deferred[None]] = []
        self.waiting: list[tuple[Deferred[Entry], tuple[Entry, Origin, bool]]] = []
        self.writing: Exception | None = None
        self.committing: Exception | None = None
        self.due: Deferred[list[tuple[int, str]]] = succeed([(1, "a@b.test")])
        self.retried: list[Selection] = []

    def retry(self, selection: Selection, by: str, now: float) -> Deferred[list[tuple[int, str]]]:  # noqa: ARG002
        self.retried.append(selection)
        return self.due

    def receive(self, message: int) -> FakeReceiving:
        receiving = FakeReceiving(self, message)
        self.received.append(receiving)
        return receiving

    def make_room(self) -> None:
        self.room.pop(0).callback(None)

    def finish(self, fault: Exception | None = None) -> None:
        """Answer the oldest commit that waits."""
        waiting, committed = self.waiting.pop(0)
        if fault is not None:
            waiting.errback(Failure(fault))
            return
        self.committed.append(committed)
        waiting.callback(committed[0])

    @property
    def contents(self) -> list[bytes]:
        """Committed contents, without the trace field in front."""
        return [without_trace(entry.content or b"") for entry, _, _ in self.committed]


def without_trace(content: bytes) -> bytes:
    """`content` without the folded field that it begins with."""
    lines = content.split(b"\r\n")
    assert lines[0].startswith(b"Received: "), lines[0]
    first = next(number for number, line in enumerate(lines) if number and not line.startswith((b" ", b"\t")))
    return b"\r\n".join(lines[first:])


@implementer(IQueue)
class FakeQueue:
    """Counts ids up from 1 and remembers what was accepted."""

    def __init__(self) -> None:
        self.last = 0
        self.woken = 0
        self.room = True
        self.taken: list[tuple[int, bool]] = []
        self.fault: Exception | None = None

    def new_id(self) -> int:
        self.last += 1
        return self.last

    def wants_claim(self) -> bool:
        return self.room

    def accepted(self, entry: Entry, claimed: bool) -> None:
        if self.fault is not None:
            raise self.fault
        self.taken.append((entry.message, claimed))

    def withdraw(self, pairs: Iterable[tuple[int, str]]) -> None:
        raise NotImplementedError

    def due_changed(self) -> None:
        self.woken += 1


class Wire(StringTransport):
    """An in-memory transport that loses its connection as soon as it is asked to, and can be full."""

    def __init__(self, peer: object) -> None:
        super().__init__(peerAddress=cast("IAddress", peer))
        self.lost: Callable[[], None] = lambda: None
        self.aborted = False
        self.closes = True

    def loseConnection(self) -> None:
        super().loseConnection()
        if self.closes:
            self.lost()

    def abortConnection(self) -> None:
        self.aborted = True
        self.lost()


class Client:
    """The peer's end of one connection."""

    def __init__(self, site: Site, host: str = STRANGER, peer: object | None = None) -> None:
        self.wire = Wire(IPv4Address("TCP", host, 4000) if peer is None else peer)
        # Behind a proxy it is not the session itself, but does what a transport asks of it.
        self.server = cast("ServerProtocol", site.factory.buildProtocol(self.wire.getPeer()))
        self.open = True
        self.wire.lost = self.vanish
        self.server.makeConnection(self.wire)

    def say(self, data: bytes) -> bytes:
        """Send bytes, if the server wants any; what it has written since."""
        if self.open:
            self.server.dataReceived(data)
        return self.heard()

    def heard(self) -> bytes:
        data: bytes = self.wire.value()
        self.wire.clear()
        return data

    def codes(self, data: bytes) -> list[str]:
        """Codes of the replies to `data`; lines that are continued are left out."""
        return codes(self.say(data))

    def vanish(self) -> None:
        """The connection is lost."""
        if self.open:
            self.open = False
            self.server.connectionLost()


def codes(wire: bytes) -> list[str]:
    return [line[:3].decode() for line in wire.split(b"\r\n") if line[3:4] == b" "]


class Site:
    """A factory, its clock, its fakes and its log."""

    def __init__(self, limits: ServerLimits | None = None, **changed: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.spool = FakeSpool()
        self.queue = FakeQueue()
        self.log: list[tuple[str, dict[str, str]]] = []
        self.room = True
        self.limits = limits or limits_for_tests()
        self.connections = Connections(self.limits, HOSTNAME)
        arguments: dict[str, Any] = {
            "hostname": HOSTNAME,
            "listener": "relay",
            "role": "mx",
            "policy": RelayPolicy(
                Directory(domains=["local.test"], users=["alice", "bob"], hostname=HOSTNAME),
                networks=["10.0.0.0/8"],
                relay_domains=[],
            ),
            "limits": self.limits,
            "connections": self.connections,
            "spool": cast("ISpool", self.spool),
            "queue": self.queue,
            "storage_room": lambda: self.room,
            "clock": self.clock,
            "bare_newlines": "reject",
            "normalize_networks": Networks([]),
            "log": self._note,
        }
        self.factory = ServerFactory(**{**arguments, **changed})

    def _note(self, kind: str, fields: Mapping[str, str]) -> None:
        self.log.append((kind, dict(fields)))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.log]

    def connect(self, host: str = STRANGER) -> Client:
        """A client that waited for its greeting."""
        client = Client(self, host)
        self.settle()
        return client

    def hello(self, host: str = STRANGER) -> Client:
        """A client that said EHLO, and has read all replies."""
        client = self.connect(host)
        client.say(b"EHLO client.test\r\n")
        return client

    def turn(self) -> None:
        """One turn of a reactor: what is due now is called; unlike with `Clock.advance`, what that adds is not."""
        now = self.clock.seconds()
        due = [call for call in self.clock.calls if call.getTime() <= now]
        for call in due:
            self.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)

    def settle(self) -> None:
        """Two turns of the reactor."""
        self.turn()
        self.turn()

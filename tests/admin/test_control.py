"""The control socket, over an in-memory transport and the real spool."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.admin import control
from mta.admin.control import ControlFactory, ControlProtocol, Daemon
from mta.entry import Entry
from mta.envelope import RequireTls
from mta.ids import QueueIds, parse_id
from mta.interfaces import IQueue
from mta.spool import answering, reading, schema
from mta.spool.errors import SpoolError
from mta.spool.spool import memory_spool

Row = dict[str, Any]
MESSAGE = b"Subject: hi\r\n\r\nhello\r\n"


@implementer(IQueue)
class FakeQueue:
    """The queue manager's face; it writes down what it is told."""

    def __init__(self) -> None:
        self.ids = QueueIds()
        self.accepted_: list[tuple[Entry, bool]] = []
        self.told: list[object] = []

    def new_id(self) -> int:
        return self.ids.next(1.0)

    def wants_claim(self) -> bool:
        return False

    def accepted(self, entry: Entry, claimed: bool) -> None:
        self.accepted_.append((entry, claimed))

    def withdraw(self, pairs: Any) -> None:
        self.told.append(("withdraw", list(pairs)))

    def due_changed(self) -> None:
        self.told.append("due_changed")


class Wire(StringTransport):
    """A transport that knows whether the connection was cut off."""

    aborted = False
    producer: Any

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True


class ControlCase(SynchronousTestCase):
    """A daemon's control socket and a client's connection to it."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / schema.FILE_NAME
        database = schema.connect(self.path)
        self.addCleanup(database.close)
        self.clock = Clock()
        self.clock.advance(1_795_408_200)
        self.spool = memory_spool(database, lambda call: self.clock.callLater(0, call))
        self.queue = FakeQueue()
        self.room = True
        self.daemon = Daemon(
            spool=self.spool,
            surgery=self.spool.surgery,
            queue=self.queue,
            read=self.read,
            read_commands=frozenset(answering.READING),
            run_in_thread=self.run_in_thread,
            clock=self.clock,
            hostname="mx.test",
            message_size=100_000,
            storage_room=lambda: self.room,
            user_name=lambda uid: f"user{uid}",
            status=lambda: succeed({"pid": 7}),
        )
        self.connect()

    def connect(self) -> None:
        protocol = ControlFactory(self.daemon).buildProtocol(None)
        self.protocol: ControlProtocol = protocol
        self.wire = Wire()
        protocol.makeConnection(self.wire)

    def read(self, command: str, words: Mapping[str, object]) -> Generator[list[Row], None, None]:
        return answering.pages(self.path, command, words)

    def run_in_thread(self, function: Any, *arguments: Any) -> Deferred[Any]:
        return maybeDeferred(function, *arguments)

    def settle(self) -> None:
        for _ in range(5):
            self.clock.advance(0)

    def rows(self) -> list[Row]:
        """What the client got since the last time."""
        self.settle()
        lines = self.wire.value().splitlines()
        self.wire.clear()
        return [json.loads(line) for line in lines]

    def ask(self, command: str, content: bytes = b"", **words: object) -> list[Row]:
        self.protocol.dataReceived(json.dumps({"command": command, **words}).encode() + b"\n" + content)
        return self.rows()

    def send(self, content: bytes = MESSAGE, **words: object) -> Row:
        words = {"recipients": ["bob@example.net"], "size": len(content), **words}
        (answer,) = self.ask("send", content, **words)
        return answer

    def stored(self, spelled: str) -> bytes:
        with reading.opened(self.path) as database:
            found = database.execute(
                "SELECT data FROM chunks WHERE message = ? ORDER BY number", (parse_id(spelled),)
            ).fetchall()
        return b"".join(data for (data,) in found)


class RequestTests(ControlCase):
    def test_bad_requests(self) -> None:
        """Whatever a line holds, it gets one answer that says what is wrong, and the connection goes on."""
        for line, words in (
            (b"", "not JSON"),
            (b"hello", "not JSON"),
            (b"\xff\xfe\x00", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"[]", "not an object"),
            (b"{}", "not an object"),
            (b'{"command": 5}', "not an object"),
            (b'{"command": "explode"}', "explode"),
            (b'{"command": "queue.list", "colour": 1}', "colour"),
            (b'{"command": "queue.hold"}', "--all"),
            (b'{"command": "queue.hold", "all": true, "domain": "x"}', "contradict"),
            (b'{"command": "queue.hold", "all": "yes"}', "true or false"),
            (b'{"command": "queue.discard", "ids": ["x"]}', "queue id"),
            (b'{"command": "send"}', "size"),
            (b'{"command": "send", "size": -1}', "size"),
        ):
            self.protocol.dataReceived(line + b"\n")
            (answer,) = self.rows()
            self.assertEqual((False, 64), (answer["ok"], answer["exit"]), line)
            self.assertIn(words, answer["error"])
        self.assertEqual([{"ok": True, "pid": 7}], self.ask("status"))

    def test_unknown_message(self) -> None:
        """An id that nothing is known of is EX_NOINPUT, not an empty answer."""
        (answer,) = self.ask("trace", id="0" * 13)
        self.assertEqual((False, 66), (answer["ok"], answer["exit"]))

    def test_long_line(self) -> None:
        """A request without end is refused and the connection closed: memory is bounded."""
        for _ in range(20):
            self.protocol.dataReceived(b"x" * 65_536)
        (answer,) = self.rows()
        self.assertIn("longer than", answer["error"])
        self.assertTrue(self.wire.disconnecting)

    def test_idle_client(self) -> None:
        """A client that says nothing is cut off."""
        self.clock.advance(control.IDLE_TIMEOUT - 1)
        self.assertFalse(self.wire.aborted)
        self.ask("status")
        self.clock.advance(control.IDLE_TIMEOUT - 1)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(2)
        self.assertTrue(self.wire.aborted)

    def test_answers_in_order(self) -> None:
        """Requests sent at once are answered one after the other, also where the first waits for the disk."""
        content = json.dumps({"command": "send", "recipients": ["a@x.test"], "size": len(MESSAGE)}).encode() + b"\n"
        self.protocol.dataReceived(content + MESSAGE + b'{"command": "queue.count"}\n{"command": "status"}\n')
        sent, queued, held, quarantined, in_doubt, end, status = self.rows()
        self.assertIn("id", sent)
        self.assertEqual([1, 0, 0, 0], [row["count"] for row in (queued, held, quarantined, in_doubt)])
        self.assertEqual(({"ok": True, "rows": 4}, 7), (end, status["pid"]))

    def test_every_split(self) -> None:
        """However the requests are cut, the answers and the stored message are the same."""
        stream = json.dumps({"command": "send", "recipients": ["a@x.test"], "size": len(MESSAGE)}).encode() + b"\n"
        stream += MESSAGE + b'{"command": "status"}\n'
        for cut in range(len(stream) + 1):
            self.connect()
            self.protocol.dataReceived(stream[:cut])
            self.settle()
            self.protocol.dataReceived(stream[cut:])
            sent, status = self.rows()
            self.assertEqual((True, 7), (sent["ok"], status["pid"]), cut)
            self.assertTrue(self.stored(sent["id"]).endswith(MESSAGE), cut)

    def test_internal_fault(self) -> None:
        """A fault of ours is an answer and a log entry, and the next request is served."""
        self.daemon = replace(self.daemon, status=lambda: {"ok": True}.pop("missing"))  # type: ignore[arg-type, return-value]
        self.connect()
        (answer,) = self.ask("status")
        self.assertEqual((False, 70), (answer["ok"], answer["exit"]))
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))
        self.assertEqual({"ok": True, "rows": 4}, self.ask("queue.count")[-1])

    @settings(deadline=None, max_examples=100, derandomize=True)
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from(
                    [b"\n", b'{"command": "send", "size": 3}\n', b'{"command":"queue.list"}\n', b"abc", b"\r\n"]
                ),
            ),
            max_size=12,
        )
    )
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Any bytes: no exception, and every answer is a line of JSON."""
        self.connect()
        for piece in pieces:
            self.protocol.dataReceived(piece)
        for row in self.rows():
            self.assertIsInstance(row, dict)


class ReadTests(ControlCase):
    def test_slow_reader(self) -> None:
        """While a client does not read, no more pages are read for it; when it goes on, it gets every row once."""
        self.patch(answering, "PAGE", 2)
        names = [f"u{number}@x.test" for number in range(7)]
        self.send(recipients=names)
        self.wire.producer.pauseProducing()
        first = self.ask("queue.list")
        self.assertEqual(2, len(first))
        rows = list(first)
        while not rows or "ok" not in rows[-1]:
            self.wire.producer.resumeProducing()
            self.wire.producer.pauseProducing()
            rows += self.rows()
        self.assertEqual(names, [row["recipient"] for row in rows[:-1]])
        self.assertEqual({"ok": True, "rows": 7}, rows[-1])

    def test_reader_that_never_reads(self) -> None:
        """A client that stops reading for good is cut off, and the file is closed."""
        self.patch(answering, "PAGE", 1)
        self.send(recipients=["a@x.test", "b@x.test"])
        self.wire.producer.pauseProducing()
        self.ask("queue.list")
        self.clock.advance(control.IDLE_TIMEOUT + 1)
        self.assertTrue(self.wire.aborted)
        self.protocol.connectionLost()
        self.assertEqual([], self.rows())


class ChangeTests(ControlCase):
    def test_spool_first_then_the_window(self) -> None:
        """What changed is answered by id and recipient, and the manager is told after the spool."""
        message = self.send(recipients=["a@x.test", "b@y.test"])["id"]
        number = parse_id(message)
        pair = (number, "a@x.test")
        for command, words, expected, told in (
            ("queue.hold", {"domain": "x.test"}, 1, ("withdraw", [pair])),
            ("queue.hold", {"domain": "x.test"}, 0, ("withdraw", [])),
            ("queue.release", {"ids": [message]}, 1, "due_changed"),
            ("queue.retry", {"recipient": "a@*"}, 0, "due_changed"),
            ("queue.discard", {"recipient": "a@x.test"}, 1, ("withdraw", [pair])),
            ("undo", {"operation": 5}, 1, "due_changed"),
            ("queue.reroute", {"recipient": "a@x.test", "to": "mx:other.test"}, 1, "due_changed"),
            ("queue.bounce", {"recipient": "a@x.test", "text": "no more"}, 1, "due_changed"),
        ):
            *rows, end = self.ask(command, **words)
            self.assertEqual((True, expected), (end["ok"], end["changed"]))
            self.assertEqual(expected > 0, end["operation"] is not None)
            self.assertEqual([{"id": message, "recipient": "a@x.test"}] * expected, rows)
            self.assertEqual(told, self.queue.told[-1])
        self.assertEqual(2, self.ask("queue.discard", all=True)[-1]["changed"])

    def test_bad_orders(self) -> None:
        """What an order lacks, or what can't be undone, is an error that says so, and changes nothing."""
        self.send()
        for command, words, named in (
            ("queue.reroute", {"all": True}, "to, or clear"),
            ("queue.reroute", {"all": True, "to": "mx:", "clear": True}, "to, or clear"),
            ("queue.reroute", {"all": True, "to": "nowhere"}, "not a next hop"),
            ("queue.reroute", {"all": True, "to": 5}, "next hop"),
            ("queue.bounce", {"all": True}, "text"),
            ("queue.bounce", {"all": True, "text": "a\nb"}, "one line"),
            ("queue.discard", {"all": True, "for_good": 1}, "for_good"),
            ("queue.hold", {"route": "x"}, "routes"),
            ("undo", {}, "operation"),
            ("undo", {"operation": 99}, "no operation 99"),
        ):
            (answer,) = self.ask(command, **words)
            self.assertFalse(answer["ok"])
            self.assertIn(named, answer["error"])
        self.assertEqual([], self.ask("undo.list")[:-1])

    def test_many_changes_to_a_slow_reader(self) -> None:
        """A command that changed a lot says so in parts, each when the client has read the one before."""
        self.patch(control, "ROWS_AT_ONCE", 2)
        self.send(recipients=[f"u{number}@x.test" for number in range(5)])
        self.wire.producer.pauseProducing()
        rows = self.ask("queue.hold", all=True)
        self.assertEqual(2, len(rows))
        self.wire.producer.resumeProducing()
        rows += self.rows()
        self.assertEqual((6, True, 5), (len(rows), rows[-1]["ok"], rows[-1]["changed"]))

    def test_who_did_it(self) -> None:
        """The event names who asked."""
        message = self.send()["id"]
        self.ask("queue.hold", all=True)
        event = self.ask("trace", id=message)[-2]
        self.assertEqual(("held", "local"), (event["kind"], event["detail"]["by"]))

    def test_spool_trouble(self) -> None:
        """A spool that can't write is an error for the operator."""
        self.patch(type(self.spool.surgery), "operate", lambda *_: fail(SpoolError("disk full")))
        (answer,) = self.ask("queue.hold", all=True)
        self.assertEqual((False, "disk full", 69), (answer["ok"], answer["error"], answer["exit"]))


class SendTests(ControlCase):
    def test_message_is_stored_and_queued(self) -> None:
        """The content gets a trace field and what it lacks; the queue manager hears of it (RFC 5321 4.4)."""
        answer = self.send(sender="alice", recipients=["bob", "bob@mx.test", "carol@example.net"])
        content = self.stored(answer["id"])
        self.assertTrue(content.startswith(b"Received: by mx.test"), content)
        self.assertTrue(
            content.endswith(
                b"From: <alice@mx.test>\r\nMessage-ID: <%b@mx.test>\r\n%b" % (answer["id"].encode(), MESSAGE)
            ),
            content,
        )
        ((entry, claimed),) = self.queue.accepted_
        self.assertEqual(("alice@mx.test", False), (str(entry.sender), claimed))
        self.assertEqual(
            ["bob@mx.test", "carol@example.net"], sorted(str(recipient.address) for recipient in entry.recipients)
        )

    def test_tls_required(self) -> None:
        """What the header says of TLS counts for what is handed in here, too (RFC 8689 3)."""
        for field, tag in ((b"", None), (b"TLS-Required: No\r\n", RequireTls.NO), (b"TLS-Required: Yes\r\n", None)):
            self.send(field + MESSAGE)
            self.assertIs(tag, self.queue.accepted_[-1][0].require_tls)

    def test_default_sender_is_the_user(self) -> None:
        """Without a sender it is the user at the other end; "" is the null reverse-path."""
        self.send()
        self.send(sender="")
        senders = [entry.sender for entry, _ in self.queue.accepted_]
        self.assertEqual(["local@mx.test", None], [sender and str(sender) for sender in senders])

    def test_refusals(self) -> None:
        """A refused message is answered after its content, nothing of it is queued, and the stream stays in step."""
        for content, words, code in (
            (MESSAGE, {"recipients": []}, 64),
            (MESSAGE, {"recipients": ["a b@x.test"]}, 64),
            (MESSAGE, {"recipients": [5]}, 64),
            (MESSAGE, {"recipients": ["u@x.test"] * 1001}, 64),
            (MESSAGE, {"sender": "@"}, 64),
            (MESSAGE, {"sender": 5}, 64),
            (MESSAGE, {"colour": "red"}, 64),
            (b"x\r\n" * 40_000, {}, 65),
            (b"bare\nnewline\r\n", {}, 65),
            (b"bare\rreturn\r\n", {}, 65),
            (b"cut in two\r", {}, 65),
        ):
            answer = self.send(content, **words)
            self.assertEqual((False, code), (answer["ok"], answer["exit"]), (content[:20], words))
        self.room = False
        self.assertEqual(75, self.send()["exit"])
        self.assertEqual([], self.queue.accepted_)
        self.assertEqual({"ok": True, "rows": 0}, self.ask("queue.list")[-1])

    def test_bare_newlines_at_every_split(self) -> None:
        """A bare CR or LF is found however the content is cut, and CRLF is never taken for one."""
        for content, good in (
            (b"a\r\nb\r\n", True),
            (b"a\r\n\r\nb\r\n", True),
            (b"a\nb\r\n", False),
            (b"a\rb\r\n", False),
            (b"a\r\r\nb\r\n", False),
            (b"a\n\rb\r\n", False),
        ):
            for cut in range(len(content) + 1):
                self.connect()
                words = json.dumps({"command": "send", "recipients": ["a@x.test"], "size": len(content)})
                self.protocol.dataReceived(words.encode() + b"\n" + content[:cut])
                self.protocol.dataReceived(content[cut:])
                (answer,) = self.rows()
                self.assertEqual(good, answer["ok"], (content, cut))

    def test_client_leaves_in_the_middle(self) -> None:
        """A connection that is lost within the content leaves nothing behind."""
        words = {"command": "send", "recipients": ["a@x.test"], "size": 100}
        self.protocol.dataReceived(json.dumps(words).encode() + b"\nSubject: x\r\n\r\n")
        self.protocol.connectionLost()
        self.settle()
        self.connect()
        self.assertEqual({"ok": True, "rows": 0}, self.ask("queue.list")[-1])

    def test_spool_fault_keeps_it_with_the_sender(self) -> None:
        """Where the spool can't store, the sender is told to try again (EX_TEMPFAIL)."""
        self.patch(type(self.spool.receive(1)), "commit", lambda *_: fail(SpoolError("no space left")))
        answer = self.send()
        self.assertEqual((False, "no space left", 75), (answer["ok"], answer["error"], answer["exit"]))
        self.assertEqual([], self.queue.accepted_)

    def test_empty_message(self) -> None:
        """A message without an octet is a message, as for sendmail."""
        answer = self.send(b"")
        self.assertTrue(answer["ok"])
        self.assertTrue(self.stored(answer["id"]).endswith(b"\r\n\r\n"))

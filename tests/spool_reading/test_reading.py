"""Listing, counting, showing and tracing, on the file of a running and of a stopped daemon."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.entry import State
from mta.events import Kind
from mta.ids import spell
from mta.selection import Selection
from mta.spool import answering, reading, schema
from mta.spool.errors import SpoolError
from mta.spool.schema import SpoolConnection


def add_message(database: SpoolConnection, message: int, *recipients: str, state: str = "queued") -> None:
    """A message with its recipients, content and first event."""
    database.execute(
        "INSERT INTO messages (id, arrived, sender, size, body, due) VALUES (?, ?, 's@example.org', 40, '7BIT', 0)",
        (message, float(message)),
    )
    database.executemany(
        "INSERT INTO recipients (message, address, state, due, last_reply) VALUES (?, ?, ?, 0, '450 later')",
        [(message, recipient, state) for recipient in recipients],
    )
    database.execute("INSERT INTO chunks VALUES (?, 0, ?)", (message, b"Subject: hi\r\nX: 1\r"))
    database.execute("INSERT INTO chunks VALUES (?, 1, ?)", (message, b"\n\r\nbody\r\n\r\nmore\r\n"))
    database.execute(
        "INSERT INTO events (message, at, kind, detail) VALUES (?, 1.5, 'accepted', '{\"size\": 40}')", (message,)
    )


class SpoolFileCase(SynchronousTestCase):
    """A spool file, and the connection that the daemon would have."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / schema.FILE_NAME
        self.database = schema.connect(self.path)
        self.addCleanup(self.database.close)
        schema.prepare(self.database, "spool")


class ReadingTests(SpoolFileCase):
    def test_list_in_order_of_arrival(self) -> None:
        """Recipients come oldest message first, each with what an operator wants to know."""
        add_message(self.database, 7, "b@x.test", "a@x.test")
        add_message(self.database, 3, "c@x.test")
        with reading.opened(self.path) as database:
            rows = list(reading.list_queue(database, Selection()))
        self.assertEqual([(3, "c@x.test"), (7, "a@x.test"), (7, "b@x.test")], [row.place for row in rows])
        self.assertEqual(
            reading.QueueRow(3, 3.0, "s@example.org", 40, "c@x.test", State.QUEUED, 0, 0.0, "450 later"), rows[0]
        )

    def test_pages_are_seamless(self) -> None:
        """Going on behind any row gives just the rows that are left."""
        for message in (1, 2, 3):
            add_message(self.database, message, "a@x.test", "b@x.test")
        with reading.opened(self.path) as database:
            rows = list(reading.list_queue(database, Selection()))
            for index, row in enumerate(rows):
                rest = list(reading.list_queue(database, Selection(domain="x.test"), None, row.place))
                self.assertEqual(rows[index + 1 :], rest)
            self.assertEqual(rows[:2], list(reading.list_queue(database, Selection(), 2)))

    def test_finished_recipients_are_not_in_the_queue(self) -> None:
        """A discarded recipient whose row is still there is neither listed nor counted."""
        add_message(self.database, 1, "a@x.test", state="discarded")
        add_message(self.database, 2, "b@x.test", state="held")
        with reading.opened(self.path) as database:
            self.assertEqual([2], [row.message for row in reading.list_queue(database, Selection())])
            expected = {State.QUEUED: 0, State.HELD: 1, State.QUARANTINED: 0, State.IN_DOUBT: 0}
            self.assertEqual(expected, reading.count(database, Selection()))
            self.assertEqual(expected, reading.count(database, Selection(sender="s@*")))

    def test_in_doubt(self) -> None:
        """Who is in doubt is listed and counted as that alone, with the time of the next try or, held, none."""
        for message, word in enumerate(("queued", "held", "quarantined", "discarded"), 1):
            add_message(self.database, message, "a@x.test", "b@x.test", state=word)
        self.database.execute("UPDATE recipients SET in_doubt = 1, due = 9 WHERE address = 'a@x.test'")
        with reading.opened(self.path) as database:
            found = list(reading.list_queue(database, Selection(state=State.IN_DOUBT)))
            self.assertEqual([(1, 9.0), (2, None)], [(row.message, row.due) for row in found])
            for state, messages in ((State.QUEUED, [1]), (State.HELD, [2]), (State.QUARANTINED, [3, 3])):
                found = list(reading.list_queue(database, Selection(state=state)))
                self.assertEqual(messages, [row.message for row in found])
            expected = {State.QUEUED: 1, State.HELD: 1, State.QUARANTINED: 2, State.IN_DOUBT: 2}
            self.assertEqual(expected, reading.count(database, Selection()))
            self.assertEqual(2, reading.count(database, Selection(state=State.IN_DOUBT))[State.IN_DOUBT])
        self.assertEqual(2, answering.count_in_doubt(self.path))

    def test_header_across_chunks(self) -> None:
        """The header block ends at the first empty line, also where chunks cut it in two."""
        add_message(self.database, 1, "a@x.test")
        with reading.opened(self.path) as database:
            found = reading.show(database, 1)
            self.assertIsNotNone(found)
            assert found is not None
            self.assertEqual("Subject: hi\nX: 1\n", found.header)
            self.assertEqual(("a@x.test",), tuple(row.recipient for row in found.recipients))
            self.assertIsNone(reading.show(database, 2))

    def test_header_is_bounded(self) -> None:
        """A header without end is shown up to a limit; the content is not read to its end for it."""
        add_message(self.database, 1, "a@x.test")
        self.database.execute("DELETE FROM chunks")
        self.database.executemany("INSERT INTO chunks VALUES (1, ?, ?)", [(n, b"x" * 200_000) for n in range(9)])
        with reading.opened(self.path) as database:
            found = reading.show(database, 1)
        assert found is not None
        self.assertEqual(reading.MAX_HEADER, len(found.header))

    def test_trace_survives_a_damaged_event(self) -> None:
        """An event whose detail can't be read is printed as such, with all others around it."""
        add_message(self.database, 1, "a@x.test")
        self.database.execute("INSERT INTO events (message, at, kind, detail) VALUES (1, 2, 'deferred', '{broken')")
        with reading.opened(self.path) as database:
            accepted, deferred = reading.trace(database, 1)
        self.assertEqual((Kind.ACCEPTED, {"size": 40}), (accepted.kind, accepted.detail))
        self.assertIn("{broken", str(deferred.detail["reason"]))

    def test_reads_beside_the_daemon_and_after_it(self) -> None:
        """The file is readable while the daemon has it open, and when the daemon was stopped."""
        add_message(self.database, 1, "a@x.test")
        for _ in ("running", "stopped"):
            with reading.opened(self.path) as database:
                self.assertEqual(1, len(list(reading.list_queue(database, Selection()))))
            self.database.close()

    def test_never_creates_a_file(self) -> None:
        """Reading a spool that is not there is an error that names it, and makes no empty one."""
        missing = self.path.with_name("none.sqlite")
        with self.assertRaises(SpoolError) as caught, reading.opened(missing):
            pass
        self.assertIn(str(missing), str(caught.exception))
        self.assertFalse(missing.exists())

    def test_foreign_files(self) -> None:
        """A file that is no spool, or of a newer version, is refused in words."""
        garbage = self.path.with_name("garbage.sqlite")
        garbage.write_bytes(os.urandom(5000))
        self.database.execute("PRAGMA user_version = 99")
        for path, words in ((garbage, "not a readable spool"), (self.path, "version 99")):
            with self.assertRaises(SpoolError) as caught, reading.opened(path):
                pass
            self.assertIn(words, str(caught.exception))


class AnsweringTests(SpoolFileCase):
    def ask(self, command: str, **words: object) -> list[dict[str, object]]:
        return [row for page in answering.pages(self.path, command, words) for row in page]

    def test_list_limit_over_pages(self) -> None:
        """A limit holds across pages, and no limit gives every row once."""
        self.patch(answering, "PAGE", 3)
        for message in range(1, 8):
            add_message(self.database, message, "a@x.test")
        for limit in range(1, 9):
            rows = self.ask("queue.list", limit=limit)
            self.assertEqual([spell(n) for n in range(1, min(limit, 7) + 1)], [row["id"] for row in rows])
        self.assertEqual(7, len(self.ask("queue.list")))

    def test_rows(self) -> None:
        """Each command's rows have the keys that scripts rely on."""
        add_message(self.database, 1, "a@x.test")
        identity = spell(1)
        self.assertEqual(
            [
                *("id", "arrived", "sender", "size", "recipient", "state", "attempts", "due", "last_reply"),
                *("site", "code", "operation"),
            ],
            list(self.ask("queue.list")[0]),
        )
        self.assertEqual({"state": "queued", "count": 1}, self.ask("queue.count")[0])
        (shown,) = self.ask("queue.show", id=identity)
        self.assertEqual((identity, "Subject: hi\nX: 1\n"), (shown["id"], shown["header"]))
        self.assertEqual(
            [{"id": identity, "at": 1.5, "kind": "accepted", "recipient": None, "detail": {"size": 40}}],
            self.ask("trace", id=identity.lower()),
        )

    def test_preview(self) -> None:
        """What a change would be made to is counted, the first of them shown, and nothing changes."""
        add_message(self.database, 1, *(f"{letter}@x.test" for letter in "abcdefghijklmno"))
        add_message(self.database, 2, "a@x.test", state="held")
        count, *sample = self.ask("queue.preview", change="hold", domain="x.test")
        self.assertEqual(({"count": 15}, 10), (count, len(sample)))
        self.assertEqual("a@x.test", sample[0]["recipient"])
        self.assertEqual([{"count": 0}], self.ask("queue.preview", change="retry"))
        self.assertEqual({"count": 1}, self.ask("queue.preview", change="release", all=True)[0])
        self.assertEqual({"count": 16}, self.ask("queue.preview", change="discard")[0])
        self.assertEqual(16, len(self.ask("queue.list")))
        self.assertRaises(ValueError, self.ask, "queue.preview", change="eat")
        self.assertRaises(ValueError, self.ask, "queue.preview", change="hold", route="x")

    def test_bad_words(self) -> None:
        """A word that is unknown or of the wrong kind is an error that names it; an unknown id is another."""
        for command, words, error in (
            ("queue.list", {"limit": 0}, "limit"),
            ("queue.list", {"limit": True}, "limit"),
            ("queue.list", {"colour": "red"}, "colour"),
            ("queue.list", {"state": "gone"}, "gone"),
            ("queue.list", {"ids": ["nonsense"]}, "nonsense"),
            ("queue.count", {"limit": 3}, "limit"),
            ("queue.show", {}, "queue id"),
            ("queue.show", {"id": 5}, "queue id"),
            ("trace", {"id": "U" * 13}, "UUU"),
        ):
            with self.assertRaises(ValueError) as caught:
                self.ask(command, **words)
            self.assertIn(error, str(caught.exception))
        for command in ("queue.show", "trace"):
            self.assertRaises(LookupError, self.ask, command, id=spell(12345))

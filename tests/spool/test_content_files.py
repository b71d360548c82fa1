"""Large content in files: as durable as what is in the database, and gone with its message."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.entry import Entry, Report, Result, State
from mta.ids import QueueIds, spell
from mta.selection import Selection
from mta.spool import SpoolDamageError, SpoolError, schema
from mta.spool.schema import CHUNK_SIZE
from mta.spool.spool import Spool, open_spool
from tests.contracts.spools import BOB, ORIGIN, envelope
from tests.spool.test_contract import ThreadCalls

LARGE = bytes(range(256)) * 1024 * 3 + b"end\r\n"


class ContentFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.calls = ThreadCalls()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.folder = self.directory / "content"
        self.path = self.directory / schema.FILE_NAME
        self.ids = QueueIds()
        self.spool = self.open()

    def open(self) -> Spool:
        spool = open_spool(self.directory, self.calls, pid=1, now=0.0)
        self.addCleanup(lambda: self.wait(spool.close()))
        return spool

    def wait(self, waiting: Deferred[Any]) -> Any:
        return self.calls.wait(waiting)

    def begin(self, content: bytes = LARGE) -> tuple[Any, int]:
        message = self.ids.next(100.0)
        receiving = self.spool.receive(message)
        for start in range(0, len(content), CHUNK_SIZE):
            waiting = receiving.write(content[start : start + CHUNK_SIZE])
            if waiting is not None:
                self.wait(waiting)
        return receiving, message

    def store(self, content: bytes = LARGE) -> Entry:
        """A message that is claimed, and of which nothing is left in memory."""
        self.wait(self.begin(content)[0].commit(envelope(), ORIGIN, 100.0, False))
        (entry,) = self.wait(self.spool.claim(200.0, 10))
        assert isinstance(entry, Entry)
        return entry

    def read(self, entry: Entry) -> bytes:
        content = self.spool.content(entry)
        return b"".join(self.wait(content.chunk(number)) for number in range(-(-entry.size // CHUNK_SIZE)))

    def names(self) -> list[str]:
        return os.listdir(self.folder)

    def ask(self, statement: str) -> list[Any]:
        with closing(schema.connect(self.path, read_only=True)) as database:
            return database.execute(statement).fetchall()

    def test_all_behind_the_first_chunk_is_in_the_file(self) -> None:
        """A message of four chunks comes back whole; the first stands in the database, the others in its file."""
        entry = self.store()
        self.assertEqual(LARGE, self.read(entry))
        self.assertEqual([(0,)], self.ask("SELECT number FROM chunks"))
        self.assertEqual(LARGE[CHUNK_SIZE:], (self.folder / spell(entry.message)).read_bytes())

    def test_content_of_whole_chunks(self) -> None:
        """Content that ends with a chunk comes back whole, with a file where there are two chunks, without for one."""
        for chunks in (1, 2):
            entry = self.store(LARGE[: CHUNK_SIZE * chunks])
            self.assertEqual(LARGE[: CHUNK_SIZE * chunks], self.read(entry))
            self.assertEqual(chunks - 1, len(self.names()))

    def test_file_is_for_its_owner_alone(self) -> None:
        """Nobody else may read mail: neither the folder nor a file."""
        entry = self.store()
        self.assertEqual(0o700, self.folder.stat().st_mode & 0o777)
        self.assertEqual(0o600, (self.folder / spell(entry.message)).stat().st_mode & 0o777)

    def test_file_goes_with_the_message(self) -> None:
        """The file stays while a recipient is left, and goes with the last one."""
        entry = self.store()
        self.wait(self.spool.record(Report(entry.message, (Result(BOB, State.QUEUED, due=300.0),), ())))
        self.assertEqual([spell(entry.message)], self.names())
        self.wait(self.spool.record(Report(entry.message, (Result(BOB, State.DELIVERED),), ())))
        self.assertEqual([], self.names())

    def test_file_goes_with_a_discarded_message(self) -> None:
        """An operator who discards a message gets the room of its file."""
        self.wait(self.begin()[0].commit(envelope(), ORIGIN, 100.0, False))
        self.wait(self.spool.discard(Selection(), "root", 150.0))
        self.assertEqual([], self.names())

    def test_file_goes_where_the_sender_does(self) -> None:
        """What arrived of a message that is given up goes at once."""
        receiving, _message = self.begin()
        receiving.abort()
        self.wait(self.spool.mark(0, (), ""))
        self.assertEqual([], self.names())
        self.assertEqual([], self.ask("SELECT number FROM chunks"))

    def test_start_sweeps_what_has_no_message(self) -> None:
        """A start removes the files of messages that never were or are gone, keeps all others, and those not ours."""
        kept = self.store()
        _receiving, arriving = self.begin()
        self.wait(self.spool.mark(0, (), ""))
        (self.folder / spell(self.ids.next(100.0))).write_bytes(b"of a message that is gone")
        (self.folder / "README").write_bytes(b"of somebody else")
        self.assertIn(spell(arriving), self.names())
        self.open()
        self.assertEqual({spell(kept.message), "README"}, set(self.names()))

    def test_commit_fails_where_the_file_does(self) -> None:
        """Where a chunk is not in the file nothing is accepted, and nothing of it is left; the file gets no hole."""
        for spoil in (os.unlink, lambda path: os.truncate(path, CHUNK_SIZE)):
            receiving, message = self.begin()
            self.wait(self.spool.mark(0, (), ""))
            spoil(self.folder / spell(message))
            self.assertRaises(SpoolError, self.wait, receiving.commit(envelope(), ORIGIN, 100.0, False))
        self.wait(self.spool.mark(0, (), ""))
        self.assertEqual([], self.ask("SELECT id FROM messages"))
        self.assertEqual([], self.ask("SELECT number FROM chunks"))
        self.assertEqual([], self.names())

    def test_write_fails_where_the_folder_is_gone(self) -> None:
        """Without the folder a large message fails and a small one does not."""
        self.folder.rmdir()
        receiving, _message = self.begin()
        self.assertRaises(SpoolError, self.wait, receiving.commit(envelope(), ORIGIN, 100.0, False))
        self.assertEqual(b"small", self.wait(self.spool.content(self.store(b"small")).chunk(0)))
        self.folder.mkdir()

    def test_damaged_file_quarantines_its_message(self) -> None:
        """A file that is cut short or missing is damage of its message alone, which is quarantined with the reason."""
        for spoil in (lambda path: os.truncate(path, 1000), os.unlink):
            entry = self.store()
            spoil(self.folder / spell(entry.message))
            self.assertEqual(LARGE[:CHUNK_SIZE], self.wait(self.spool.content(entry).chunk(0)))
            self.assertRaises(SpoolDamageError, self.wait, self.spool.content(entry).chunk(1))
            result = Result(BOB, State.QUEUED, due=300.0)
            self.wait(self.spool.record(Report(entry.message, (result,), ())))
            self.assertEqual(
                [("quarantined",)], self.ask(f"SELECT state FROM recipients WHERE message = {entry.message}")
            )
        self.assertEqual("", self.spool.damage())

    def test_content_from_before_there_were_files(self) -> None:
        """A message whose chunks all stand in the database, as up to version 2, is read and goes as any other."""
        entry = self.store()
        path = self.folder / spell(entry.message)
        with closing(schema.connect(self.path)) as database:
            for number in range(1, 4):
                chunk = LARGE[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE]
                database.execute("INSERT INTO chunks VALUES (?, ?, ?)", (entry.message, number, chunk))
        path.unlink()
        self.assertEqual(LARGE, self.read(entry))
        self.wait(self.spool.record(Report(entry.message, (Result(BOB, State.DELIVERED),), ())))
        self.assertEqual([], self.ask("SELECT number FROM chunks"))

"""Opening a spool: what is ours, what is newer, what is something else."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.entry import State
from mta.selection import Selection
from mta.spool import SpoolError, reading, schema

NAMES = "SELECT name FROM sqlite_schema"
# What version 1 wrote, with one message.
FIRST = """
CREATE TABLE workers (id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, beat REAL NOT NULL);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, arrived REAL NOT NULL, sender TEXT NOT NULL, size INTEGER NOT NULL, body TEXT NOT NULL,
    due REAL, claim INTEGER, crashes INTEGER NOT NULL DEFAULT 0, details TEXT
);
CREATE INDEX messages_due ON messages (due) WHERE claim IS NULL AND due IS NOT NULL;
CREATE INDEX messages_claim ON messages (claim) WHERE claim IS NOT NULL;
CREATE TABLE recipients (
    message INTEGER NOT NULL REFERENCES messages (id), address TEXT NOT NULL, state TEXT NOT NULL, due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, last_reply TEXT NOT NULL DEFAULT '', details TEXT,
    PRIMARY KEY (message, address)
) WITHOUT ROWID;
CREATE TABLE chunks (
    message INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (message, number)
);
CREATE TABLE staged (message INTEGER PRIMARY KEY);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, message INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, recipient TEXT, detail TEXT
);
CREATE INDEX events_message ON events (message);
CREATE INDEX events_at ON events (at);
INSERT INTO messages (id, arrived, sender, size, body, due) VALUES (7, 1, '', 2, '7BIT', 1);
INSERT INTO recipients (message, address, state, due) VALUES (7, 'bob@x.test', 'queued', 1);
PRAGMA application_id = 1297367409;
PRAGMA user_version = 1
"""
# What version 2 had beyond that.
SECOND = """;
ALTER TABLE recipients ADD COLUMN marked TEXT;
ALTER TABLE recipients ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recipients_in_doubt ON recipients (message) WHERE in_doubt = 1;
PRAGMA user_version = 2
"""

# And version 3: what came later is in the details alone.
THIRD = """;
ALTER TABLE messages ADD COLUMN waits_for TEXT;
CREATE INDEX messages_waiting ON messages (waits_for) WHERE claim IS NULL AND waits_for IS NOT NULL;
PRAGMA user_version = 3
"""


class OpeningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def write(self, *statements: str) -> None:
        database = sqlite3.connect(self.path)
        for statement in statements:
            database.execute(statement)
        database.commit()
        database.close()

    def prepare(self) -> str:
        """The error of opening and preparing the file, "" for none."""
        try:
            database = schema.connect(self.path)
        except SpoolError as error:
            return str(error)
        try:
            schema.prepare(database, str(self.path))
        except SpoolError as error:
            return str(error)
        finally:
            database.close()
        return ""

    def test_new_file_gets_the_schema_and_opens_again(self) -> None:
        """An empty place becomes a spool, and preparing it a second time changes nothing."""
        self.assertEqual("", self.prepare())
        before = self.path.read_bytes()
        self.assertEqual("", self.prepare())
        self.assertEqual(before, self.path.read_bytes())

    def test_newer_schema_is_refused_untouched(self) -> None:
        """A spool of a newer program is refused with both versions named, and not one byte of it changes."""
        self.prepare()
        self.write(f"PRAGMA user_version = {schema.VERSION + 1}")
        before = self.path.read_bytes()
        error = self.prepare()
        self.assertIn(f"schema version {schema.VERSION + 1}, this program knows up to {schema.VERSION}", error)
        self.assertEqual(before, self.path.read_bytes())

    def test_older_schema_is_brought_up_to_date(self) -> None:
        """A spool of version 1, 2 or 3 keeps its mail and gets what is new; `mta` asks for a start until then."""
        self.bring_up_to_date(FIRST, 1)
        self.path = Path(self.mktemp())
        self.bring_up_to_date(FIRST + SECOND, 2)
        self.path = Path(self.mktemp())
        self.bring_up_to_date(FIRST + SECOND + THIRD, 3)

    def bring_up_to_date(self, statements: str, version: int) -> None:
        self.write(*(statement for statement in statements.split(";") if statement.strip()))
        with self.assertRaises(SpoolError) as raised, reading.opened(self.path):
            pass
        self.assertIn(f"schema version {version}", str(raised.exception))
        self.assertEqual("", self.prepare())
        with reading.opened(self.path) as database:
            (row,) = reading.list_queue(database, Selection())
            self.assertEqual((7, "bob@x.test", State.QUEUED), (row.message, row.recipient, row.state))
            database.execute("SELECT marked, in_doubt FROM recipients WHERE in_doubt = 1")
            self.assertEqual([(None,)], database.execute("SELECT waits_for FROM messages").fetchall())
            self.assertEqual(self.tables(schema.TABLES), {row[0] for row in database.execute(NAMES)})

    def tables(self, statements: str) -> set[str]:
        """The tables and indexes that the statements make."""
        database = sqlite3.connect(":memory:")
        database.executescript(statements)
        return {row[0] for row in database.execute(NAMES)}

    def test_foreign_database_is_refused(self) -> None:
        """Somebody else's SQLite file is refused untouched."""
        self.write("CREATE TABLE theirs (x)")
        before = self.path.read_bytes()
        self.assertIn("not a spool of this program", self.prepare())
        self.assertEqual(before, self.path.read_bytes())

    def test_garbage_is_refused(self) -> None:
        """A file that is no database at all gives one clear line."""
        self.path.write_bytes(b"this is not a database, but it is long enough to look like one" * 40)
        self.assertIn("file is not a database", self.prepare())

    def test_unopenable_place_is_refused(self) -> None:
        """A missing directory is one clear line that names the file."""
        self.path = self.path / "missing" / "spool.sqlite"
        self.assertIn(f"{self.path}: cannot open the spool", self.prepare())

    def test_reading_never_creates(self) -> None:
        """Opening for reading what is not there fails and creates nothing."""
        self.assertRaises(SpoolError, schema.connect, self.path, read_only=True)
        self.assertFalse(self.path.exists())


class DeletingTests(SynchronousTestCase):
    def test_content_that_goes_is_not_written_again(self) -> None:
        """To delete a megabyte of content takes a few pages of the log, however SQLite was built."""
        path = Path(self.mktemp())
        database = schema.connect(path)
        self.addCleanup(database.close)
        schema.prepare(database, str(path))
        database.executemany(
            "INSERT INTO chunks (message, number, data) VALUES (7, ?, ?)",
            [(number, b"x" * schema.CHUNK_SIZE) for number in range(4)],
        )
        log = Path(f"{path}-wal")
        before = log.stat().st_size
        database.execute("DELETE FROM chunks WHERE message = 7")
        self.assertLess(log.stat().st_size - before, 64 * 1024)

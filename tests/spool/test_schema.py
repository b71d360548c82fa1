"""Opening a spool: what is ours, what is newer, what is something else."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.spool import SpoolError, schema


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

"""Giving free pages back to the file system."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.spool import changing, schema


class ShrinkingTests(SynchronousTestCase):
    def test_as_many_pages_as_it_says(self) -> None:
        """One transaction gives back what it was asked for: one page in each would cost a wait for the disk in each."""
        database = schema.memory()
        schema.prepare(database, "memory")
        database.execute("INSERT INTO chunks VALUES (1, 0, ?)", (bytes(1 << 20),))
        database.execute("DELETE FROM chunks")
        (before,) = database.execute("PRAGMA freelist_count").fetchone()
        database.execute("BEGIN IMMEDIATE")
        self.assertEqual(100, changing.shrink(database, 0, 100))
        database.execute("COMMIT")
        self.assertEqual((before - 100,), database.execute("PRAGMA freelist_count").fetchone())

"""Files that change, and what a cache remembers."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.interfaces import ITable
from mta.table import CouldNotAsk, Found, parse_table_url
from mta.tables.cache import TROUBLE_TTL, CachedTable, CacheLimits
from mta.tables.opening import open_table
from mta.tables.watched import LOOK_EVERY
from tests.tables.surroundings import Notes, around


class WatchedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "users"
        self.clock = Clock()
        self.notes: Notes = []
        self.write("alice ok\n")
        self.table = open_table(parse_table_url("file:users"), around(self.folder, self.clock, self.notes))

    def write(self, text: str) -> None:
        """As editors and `mv` do it: another file under the name."""
        fresh = self.folder / "fresh"
        fresh.write_text(text)
        os.replace(fresh, self.path)

    def found(self, key: str) -> Found:
        answer = self.table.lookup(key)
        return self.successResultOf(answer) if isinstance(answer, Deferred) else answer

    def test_change(self) -> None:
        """A new text counts from the next look on, which is a second after the last."""
        self.assertEqual(("ok",), self.found("alice"))
        self.write("bob ok\n")
        self.assertEqual(("ok",), self.found("alice"))
        self.clock.advance(LOOK_EVERY)
        self.assertIsNone(self.found("alice"))
        self.assertEqual(("ok",), self.found("bob"))

    def test_bad_change(self) -> None:
        """A new text with a bad entry, or none at all, leaves the one before in use, and is told once."""
        self.assertEqual(("ok",), self.found("alice"))
        for text in ("bob ok\nbad\n", None, "\udcff"):
            if text is None:
                self.path.unlink()
            elif text == "\udcff":
                self.path.write_bytes(b"\xff\n")
            else:
                self.write(text)
            for _second in range(3):
                self.clock.advance(LOOK_EVERY)
                self.assertEqual(("ok",), self.found("alice"))
                self.assertIsNone(self.found("bob"))
        self.assertEqual(3, len(self.notes), self.notes)
        self.assertEqual("file:users", self.notes[0][1]["table"])
        self.assertIn("line 2", self.notes[0][1]["reason"])
        self.write("bob ok\n")
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(("ok",), self.found("bob"))

    def test_bad_from_the_start(self) -> None:
        """The good entries of a first text answer; of all others it can't be told, for a bad one may mean them."""
        self.write("bob ok\nbad\n")
        self.assertEqual(("ok",), self.found("bob"))
        self.assertIsInstance(self.found("carol"), CouldNotAsk)
        self.write("bob ok\n")
        self.clock.advance(LOOK_EVERY)
        self.assertIsNone(self.found("carol"))

    def test_missing_from_the_start(self) -> None:
        """A file that is not there can't be asked, until it is there."""
        self.path.unlink()
        self.assertIsInstance(self.found("alice"), CouldNotAsk)
        self.write("alice ok\n")
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(("ok",), self.found("alice"))


@implementer(ITable)
class Slow:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Found]]] = []

    def lookup(self, key: str) -> Deferred[Found]:
        waiting: Deferred[Found] = Deferred()
        self.asked.append((key, waiting))
        return waiting

    def close(self) -> None:
        self.asked = []


class CacheTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.slow = Slow()
        self.table = CachedTable(self.slow, self.clock, CacheLimits(ttl=300.0, negative_ttl=30.0, size=2))

    def ask(self, key: str, answer: Found) -> bool:
        """Look a key up, and answer where that asks; whether it did."""
        before = len(self.slow.asked)
        found = self.table.lookup(key)
        if len(self.slow.asked) == before:
            self.assertEqual(answer, found)
            return False
        self.slow.asked[-1][1].callback(answer)
        assert isinstance(found, Deferred)
        self.assertEqual(answer, self.successResultOf(found))
        return True

    def test_times(self) -> None:
        """An entry, the absence of one and a trouble each count for their own time, and then are asked for again."""
        for answer, ttl in ((("x",), 300.0), (None, 30.0), (CouldNotAsk("down"), TROUBLE_TTL)):
            key = str(ttl)
            self.assertTrue(self.ask(key, answer))
            self.clock.advance(ttl - 0.5)
            self.assertFalse(self.ask(key, answer))
            self.clock.advance(0.5)
            self.assertTrue(self.ask(key, answer))

    def test_size(self) -> None:
        """The key that was wanted longest ago goes first."""
        for key in ("a", "b"):
            self.ask(key, ("x",))
        self.ask("a", ("x",))
        self.ask("c", ("x",))
        self.assertEqual([False, True], [self.ask("a", ("x",)), self.ask("b", ("x",))])

    def test_one_question(self) -> None:
        """All who want the same key while it is asked for share one question."""
        waiting = [self.table.lookup("a") for _number in range(3)]
        self.assertEqual(1, len(self.slow.asked))
        self.slow.asked[0][1].callback(("x",))
        for found in waiting:
            assert isinstance(found, Deferred)
            self.assertEqual(("x",), self.successResultOf(found))

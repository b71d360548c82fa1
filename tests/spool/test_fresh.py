"""What is kept of large content until its first attempt is over."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.entry import Entry, Report
from mta.envelope import Body
from mta.spool import SpoolError, schema
from mta.spool.commit import InlineCommit, Work
from mta.spool.fresh import MOST_CHUNKS, FreshContent
from mta.spool.schema import CHUNK_SIZE
from mta.spool.spool import Spool
from tests.contracts.spools import ORIGIN, envelope

T = TypeVar("T")
LARGE = bytes(range(256)) * 1024 * 4 + b"end\r\n"


class Unreadable:
    """A disk that nothing can be read from."""

    def submit(self, _work: Work[T]) -> Deferred[T]:
        return fail(SpoolError("unreadable"))

    def close(self) -> Deferred[None]:
        raise NotImplementedError


class FreshContentTests(SynchronousTestCase):
    def test_chunks_are_kept_from_the_first_on(self) -> None:
        """Chunks come back by their number; one whose forerunner is not here isn't kept."""
        fresh = FreshContent(room=10)
        fresh.keep(7, 0, b"one")
        fresh.keep(7, 1, b"two")
        fresh.keep(8, 1, b"late")
        self.assertEqual([b"one", b"two", None], [fresh.chunk(7, number) for number in range(3)])
        self.assertEqual([None, None], [fresh.chunk(8, number) for number in range(2)])

    def test_what_has_no_room_is_not_kept(self) -> None:
        """A chunk that finds no room takes its message along, and leaves the others; what is freed is used again."""
        fresh = FreshContent(room=10)
        fresh.keep(7, 0, b"12345678")
        fresh.keep(8, 0, b"12")
        fresh.keep(8, 1, b"3")
        fresh.keep(8, 2, b"4")
        self.assertEqual([b"12345678", None, None], [fresh.chunk(7, 0), fresh.chunk(8, 0), fresh.chunk(8, 1)])
        fresh.forget(7)
        fresh.keep(9, 0, b"1234567890")
        self.assertEqual(b"1234567890", fresh.chunk(9, 0))

    def test_large_message_takes_no_room_from_others(self) -> None:
        """Nothing is kept of a message that turns out to have more than the most chunks."""
        fresh = FreshContent(room=MOST_CHUNKS)
        for number in range(MOST_CHUNKS + 1):
            fresh.keep(7, number, b"x")
        self.assertIsNone(fresh.chunk(7, 0))
        fresh.keep(8, 0, b"x" * MOST_CHUNKS)
        self.assertIsNotNone(fresh.chunk(8, 0))


class FirstAttemptTests(SynchronousTestCase):
    """Each test on a spool that writes and can't read: what is read came from memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        database = schema.memory()
        schema.prepare(database, "memory")
        writing = InlineCommit(database, lambda call: self.clock.callLater(0, call), lambda _event: None)
        self.spool = Spool(writing, Unreadable(), 0, 0)

    def store(self, content: bytes, claim: bool = True) -> Entry:
        receiving = self.spool.receive(7)
        for start in range(0, len(content), 65536):
            receiving.write(content[start : start + 65536])
            self.clock.advance(0)
        committed = receiving.commit(envelope(), ORIGIN, 1.0, claim)
        self.clock.advance(0)
        entry: Entry = self.successResultOf(committed)
        return entry

    def read(self, entry: Entry) -> bytes:
        content = self.spool.content(entry)
        chunks = range(-(-entry.size // CHUNK_SIZE))
        return b"".join(self.successResultOf(content.chunk(number)) for number in chunks)

    def assert_not_kept(self, entry: Entry) -> None:
        self.failureResultOf(self.spool.content(entry).chunk(0), SpoolError)

    def test_first_attempt_reads_nothing(self) -> None:
        """The content of a claimed message of a megabyte, or of a third of a chunk, comes from memory."""
        self.assertEqual(LARGE, self.read(self.store(LARGE)))

    def test_one_chunk_is_kept_too(self) -> None:
        """So does what is too large to go in one write and smaller than a chunk."""
        self.assertEqual(LARGE[:100_000], self.read(self.store(LARGE[:100_000])))

    def test_nothing_is_kept_behind_the_first_attempt(self) -> None:
        """Once the outcome is recorded and the claim given back, nothing is kept."""
        entry = self.store(LARGE)
        self.spool.record(Report(7, (), (), keep_claim=True))
        self.assertEqual(LARGE, self.read(entry))
        self.spool.record(Report(7, (), ()))
        self.assert_not_kept(entry)

    def test_crash_ends_it_too(self) -> None:
        """A message that made us raise is read from the disk from then on."""
        entry = self.store(LARGE)
        self.spool.crashed(7, "why", 2.0, 3.0)
        self.assert_not_kept(entry)

    def test_message_that_nobody_claimed_is_not_kept(self) -> None:
        """What goes into the queue unclaimed may wait for long: nothing of it is kept."""
        self.assert_not_kept(self.store(LARGE, claim=False))

    def test_message_that_never_was_is_not_kept(self) -> None:
        """What arrived of a message whose sender went away is not kept."""
        receiving = self.spool.receive(7)
        receiving.write(LARGE)
        receiving.abort()
        self.clock.advance(0)
        self.assert_not_kept(Entry(7, 1.0, None, len(LARGE), Body.SEVEN_BIT, []))

"""Group commit and staging when the disk or the log fails."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.entry import Entry
from mta.events import Event
from mta.spool import SpoolError, chunks, schema
from mta.spool.commit import Brief, Growth, Request, Staging, run_batch
from mta.spool.spool import Spool, memory_spool
from mta.spool.threaded import MANY, ThreadedCommit
from mta.spool.turn import WritersTurn
from tests.contracts.spools import ORIGIN, envelope
from tests.spool.test_contract import ThreadCalls


class FailingConnection(schema.SpoolConnection):
    """Fails each statement that begins with `failing`, after it ran where it is a ROLLBACK."""

    failing = "nothing"
    asked = 0

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if not statement.startswith(self.failing):
            return super().execute(statement, *parameters)
        self.asked += 1
        if self.failing == "ROLLBACK":
            super().execute(statement)
        raise sqlite3.OperationalError("disk I/O error")


def connection() -> FailingConnection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=FailingConnection)


def broken(_database: schema.SpoolConnection) -> None:
    raise sqlite3.OperationalError("no")


NORMAL, FULL = 1, 2


def mode(database: schema.SpoolConnection) -> int:
    """What PRAGMA synchronous is in the transaction."""
    return int(database.execute("PRAGMA synchronous").fetchone()[0])


def told(number: int, _database: schema.SpoolConnection) -> int:
    return number


class CommitTests(SynchronousTestCase):
    def test_locked_database_fails_a_batch_once(self) -> None:
        """Where no transaction begins all fail at once: one by one, each would wait ten seconds for the lock."""
        database = connection()
        database.failing = "BEGIN"
        batch: list[Request[Any]] = [Request(lambda _database: 1) for _ in range(100)]
        run_batch(database, batch)
        self.assertEqual(1, database.asked)
        for request in batch:
            request.fire()
            self.failureResultOf(request.answer, SpoolError)

    def test_brief_work_runs_in_the_reactor(self) -> None:
        """What is brief runs in the reactor's thread, other work in the writer's; an error is that of one request."""
        calls = ThreadCalls()
        commit = ThreadedCommit(connection(), calls.callFromThread, calls.callLater, lambda _event: None, "test writer")

        def where(_database: schema.SpoolConnection) -> str:
            return threading.current_thread().name

        mine = threading.current_thread().name
        self.assertEqual(mine, calls.wait(commit.submit(Brief(where))))
        self.assertEqual(mine, calls.wait(commit.submit(Growth(Brief(where)))))
        self.assertEqual("test writer", calls.wait(commit.submit(where)))
        self.assertEqual("test writer", calls.wait(commit.submit(Growth(where))))
        refused, taken = commit.submit(Brief(broken)), commit.submit(Brief(where))
        self.assertEqual(mine, calls.wait(taken))
        self.failureResultOf(refused, SpoolError)
        calls.wait(commit.close())

    def on_disk(self) -> tuple[ThreadCalls, ThreadedCommit, schema.SpoolConnection]:
        """A committing thread on a file; and another connection to the same file."""
        path = Path(self.mktemp())
        database, other = schema.connect(path), schema.connect(path)
        schema.prepare(database, str(path))
        self.addCleanup(other.close)
        calls = ThreadCalls()
        committing = ThreadedCommit(database, calls.callFromThread, calls.callLater, lambda _event: None, "test writer")
        self.addCleanup(lambda: calls.wait(committing.close()))
        return calls, committing, other

    def test_reactor_does_not_wait_for_a_lock(self) -> None:
        """Where another process has the file locked, the thread waits for it; the reactor goes on at once."""
        calls, committing, other = self.on_disk()
        other.execute("BEGIN IMMEDIATE")
        answer = committing.submit(Brief(mode))
        started = time.monotonic()
        calls.run_one()  # which begins the batch
        self.assertLess(time.monotonic() - started, schema.LOCK_TIMEOUT / 1000 / 2)
        self.assertNoResult(answer)
        other.execute("COMMIT")
        self.assertEqual(FULL, calls.wait(answer))
        self.assertEqual(FULL, calls.wait(committing.submit(Brief(mode))))

    def test_reactor_does_not_wait_for_its_turn(self) -> None:
        """Where another process has its turn to write, the thread waits for ours; each is answered, in order."""
        calls, committing, _other = self.on_disk()
        folder = Path(self.mktemp())
        folder.mkdir()
        ours, theirs = WritersTurn(folder), WritersTurn(folder)
        committing._database.turn = ours
        self.assertTrue(theirs.take())
        self.assertFalse(ours.take())
        answered: list[int] = []
        for number in range(3):
            committing.submit(Brief(partial(told, number))).addCallback(answered.append)
        calls.run_one()
        self.assertEqual([], answered)
        theirs.leave()
        self.assertEqual(FULL, calls.wait(committing.submit(Brief(mode))))
        self.assertEqual([0, 1, 2], answered)
        self.assertTrue(theirs.take())  # ours is over
        theirs.leave()

    def test_what_comes_before_the_turn_goes_along(self) -> None:
        """What comes while another process writes shares the transaction of what waits for the turn, in order."""
        for meanwhile in (Brief[int], lambda work: work):
            calls, committing, _other = self.on_disk()
            folder = Path(self.mktemp())
            folder.mkdir()
            ours, theirs = WritersTurn(folder), WritersTurn(folder)
            committing._database.turn = ours
            statements: list[str] = []
            committing._database.set_trace_callback(statements.append)
            self.assertTrue(theirs.take())
            answered: list[int] = []
            committing.submit(Brief(partial(told, 0))).addCallback(answered.append)
            calls.run_one()  # the thread waits for the turn
            last = committing.submit(meanwhile(partial(told, 1))).addCallback(answered.append)
            theirs.leave()
            calls.wait(last)
            self.assertEqual([0, 1], answered)
            self.assertEqual(1, statements.count("COMMIT"))
            self.assertTrue(theirs.take())
            theirs.leave()

    def test_long_work_behind_brief_work(self) -> None:
        """Brief and other work that come in any order are answered in that order, once each."""
        calls, committing, _other = self.on_disk()
        answered: list[int] = []
        for number in range(40):
            work = partial(told, number)
            committing.submit(Brief(work) if number % 3 else work).addCallback(answered.append)
            if number % 5 == 0:
                calls.run_one()
        calls.wait(committing.submit(mode))
        self.assertEqual(list(range(40)), answered)

    def test_one_broken_request_leaves_the_file_open_for_the_rest(self) -> None:
        """A batch that the reactor began and could not finish is rolled back: what it wrote is written once."""
        calls, committing, other = self.on_disk()

        def write(database: schema.SpoolConnection) -> None:
            database.execute("INSERT INTO workers VALUES (7, 7, 7)")

        written, refused = committing.submit(Brief(write)), committing.submit(Brief(broken))
        calls.wait(written)
        self.assertRaises(SpoolError, calls.wait, refused)
        self.assertEqual([(7,)], other.execute("SELECT id FROM workers").fetchall())

    def test_only_staging_goes_without_fsync(self) -> None:
        """Chunks of a message that is still arriving have no fsync of their own; what they share a commit with has."""
        path = Path(self.mktemp())
        database = schema.connect(path)
        self.addCleanup(database.close)
        schema.prepare(database, str(path))
        for works, expected in (
            ([mode], FULL),
            ([Staging(mode), Staging(mode)], NORMAL),
            ([Staging(mode), Growth(mode)], FULL),
            ([Staging(mode)], NORMAL),
            ([mode], FULL),
        ):
            batch = [Request(work) for work in works]
            run_batch(database, batch)
            self.assertEqual([expected] * len(works), [request.result for request in batch])

    def test_no_promise_where_fsync_is_refused(self) -> None:
        """What must last fails where the database does not take the order to have an fsync again."""
        database = connection()
        run_batch(database, [Request(Staging(lambda _database: 1))])
        database.failing = "PRAGMA synchronous"
        request = Request(lambda _database: 1)
        run_batch(database, [request])
        request.fire()
        self.failureResultOf(request.answer, SpoolError)

    def test_error_in_the_middle(self) -> None:
        """An I/O error at any statement of a batch, its commit too, leaves nothing of it, and the next one works."""
        for failing in ("INSERT INTO messages", "INSERT INTO chunks", "COMMIT"):
            with self.subTest(failing):
                calls: list[Callable[[], None]] = []
                database = connection()
                spool = memory_spool(database, calls.append)
                database.failing = failing
                refused = [self.begin(spool, message) for message in (1, 2)]
                calls.pop()()
                for one in refused:
                    self.failureResultOf(one, SpoolError)
                database.failing = "nothing"
                taken = self.begin(spool, 3)
                calls.pop()()
                self.assertEqual(3, self.successResultOf(taken).message)
                for table in ("messages", "recipients", "events", "chunks"):
                    column = "id" if table == "messages" else "message"
                    self.assertEqual({(3,)}, set(database.execute(f"SELECT {column} FROM {table}")))

    def test_read_only_file_system(self) -> None:
        """A disk that turned read-only fails each request for itself; once it can be written again all is as before."""
        calls: list[Callable[[], None]] = []
        database = connection()
        spool = memory_spool(database, calls.append)
        database.execute("PRAGMA query_only = ON")
        refused, unclaimed = self.begin(spool, 1), spool.claim(1000.0, 10)
        calls.pop()()
        for one in (refused, unclaimed):
            self.assertIn("readonly", str(self.failureResultOf(one, SpoolError).value))
        database.execute("PRAGMA query_only = OFF")
        taken, claimed = self.begin(spool, 2), spool.claim(1000.0, 10)
        calls.pop()()
        self.assertEqual(2, self.successResultOf(taken).message)
        self.assertEqual([2], [entry.message for entry in self.successResultOf(claimed)])

    def begin(self, spool: Spool, message: int) -> Deferred[Entry]:
        receiving = spool.receive(message)
        receiving.write(b"Subject: x\r\n\r\n")
        return receiving.commit(envelope(), ORIGIN, 100.0, False)

    def test_writer_outlives_a_failing_rollback(self) -> None:
        """A disk that fails the rollback too costs that request alone; the thread answers the next one."""
        database = connection()
        database.failing = "ROLLBACK"
        calls = ThreadCalls()
        committing = ThreadedCommit(database, calls.callFromThread, calls.callLater, lambda _event: None, "test writer")
        self.assertRaises(SpoolError, calls.wait, committing.submit(broken))
        self.assertEqual(1, calls.wait(committing.submit(lambda _database: 1)))
        calls.wait(committing.close())


class LingerTests(SynchronousTestCase):
    """Behind a batch of many requests the next one gathers for a moment."""

    def setUp(self) -> None:
        self.clock, self.calls = Clock(), ThreadCalls()
        self.committing = ThreadedCommit(
            connection(), self.calls.callFromThread, self.clock.callLater, lambda _event: None, "test writer", 0.002
        )
        self.addCleanup(self.close)
        self.answered: list[int] = []

    def close(self) -> None:
        closed = self.committing.close()
        self.clock.advance(1)
        self.calls.wait(closed)

    def submit(self, requests: int) -> None:
        for number in range(requests):
            self.committing.submit(Brief(partial(told, number))).addCallback(self.answered.append)

    def batch(self, requests: int) -> None:
        """Have a batch of so many behind us, and nothing answered since."""
        self.submit(requests)
        self.clock.advance(0)
        self.calls.run_one()
        self.assertEqual(requests, len(self.answered))
        self.answered.clear()

    def test_few(self) -> None:
        """Behind few requests nothing is waited for."""
        self.batch(MANY - 1)
        self.batch(1)

    def test_moment(self) -> None:
        """Where fewer come than are expected, the batch starts at the end of the moment."""
        self.batch(10)
        self.submit(3)
        self.clock.advance(0.0019)
        self.assertEqual([], self.answered)
        self.clock.advance(0.0002)
        self.calls.run_one()
        self.assertEqual([0, 1, 2], self.answered)

    def test_as_many_as_expected(self) -> None:
        """Where as many have come as are expected, nothing more is waited for."""
        self.batch(10)
        self.submit(14)
        self.clock.advance(0)
        self.submit(1)
        self.clock.advance(0)
        self.calls.run_one()
        self.assertEqual(15, len(self.answered))

    def test_none(self) -> None:
        """Where nothing comes within the moment, the next request is served at once."""
        self.batch(10)
        self.clock.advance(0.01)
        self.batch(1)

    def test_closed_within_the_moment(self) -> None:
        """What was submitted before the end is done before it."""
        self.batch(10)
        self.submit(2)
        self.close()
        self.assertEqual([0, 1], self.answered)


class StagingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.database = schema.memory()

    def open(self, journal: Any = lambda _event: None) -> Spool:
        return memory_spool(self.database, lambda call: self.clock.callLater(0, call), journal=journal)

    def settle(self) -> None:
        for _ in range(10):
            self.clock.advance(0)

    def fail_first_chunk(self) -> None:
        """The disk is full for the first chunk of a message, and has room for the next ones."""
        real = chunks.insert_chunk

        def insert(database: schema.SpoolConnection, message: int, number: int, data: bytes) -> None:
            if number == 0:
                raise sqlite3.OperationalError("database or disk is full")
            real(database, message, number, data)

        self.patch(chunks, "insert_chunk", insert)

    def chunks(self) -> list[tuple[int, int]]:
        return list(self.database.execute("SELECT message, number FROM chunks"))

    def test_no_commit_without_all_chunks(self) -> None:
        """A chunk that fails while the commit waits behind it fails the commit: half a message is never accepted."""
        self.fail_first_chunk()
        receiving = self.open().receive(1)
        receiving.write(bytes(600_000))
        committed = receiving.commit(envelope(), ORIGIN, 100.0, False)
        self.settle()
        self.failureResultOf(committed, SpoolError)
        self.assertEqual([], self.chunks())
        self.assertEqual([], list(self.database.execute("SELECT id FROM messages")))

    def test_chunks_behind_a_missing_one_are_swept(self) -> None:
        """What is left of a message whose first chunk failed is swept at the next start as any other."""
        self.fail_first_chunk()
        self.open().receive(1).write(bytes(600_000))
        self.settle()
        self.assertEqual([(1, 1)], self.chunks())
        self.open()
        self.assertEqual([], self.chunks())

    def test_journal_that_raises_takes_no_answer_along(self) -> None:
        """A bug in the log must not leave a whole batch without its answers."""

        def journal(_event: Event) -> None:
            raise RuntimeError("a bug")

        committed = self.open(journal).receive(1).commit(envelope(), ORIGIN, 100.0, False)
        self.settle()
        self.assertEqual(1, self.successResultOf(committed).message)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

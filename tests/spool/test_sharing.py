"""Several workers on one spool file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredList
from twisted.trial.unittest import SynchronousTestCase

from mta.entry import State
from mta.ids import QueueIds
from mta.selection import Selection
from mta.spool import SpoolError, reading, schema
from mta.spool.schema import CHUNK_SIZE
from mta.spool.spool import Membership, Spool, open_spool
from tests.contracts.spools import BOB, ORIGIN, envelope
from tests.spool.test_contract import ThreadCalls


class SharingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.calls = ThreadCalls()
        self.wait = self.calls.wait
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / schema.FILE_NAME
        self.supervisor = self.member(0)
        file = self.path.stat()
        self.identity = file.st_dev, file.st_ino

    def member(self, worker: int, identity: tuple[int, int] | None = None) -> Spool:
        spool = open_spool(
            self.directory,
            self.calls,
            pid=1,
            now=100.0,
            retry_in=lambda _attempts: 300.0,
            member=Membership(worker, identity),
        )
        self.addCleanup(lambda: self.wait(spool.close()))
        return spool

    def join(self, worker: int) -> Spool:
        return self.member(worker, self.identity)

    def store(self, spool: Spool, message: int, claim: bool = True) -> None:
        receiving = spool.receive(message)
        receiving.write(b"Subject: x\r\n\r\nhello\r\n")
        self.wait(receiving.commit(envelope(), ORIGIN, 100.0, claim))

    def claimed(self, spool: Spool) -> list[int]:
        return [entry.message for entry in self.wait(spool.claim(100.0, 100))]

    def in_state(self, state: State) -> list[int]:
        with reading.opened(self.path) as database:
            return [row.message for row in reading.list_queue(database, Selection(state=state))]

    def query(self, statement: str) -> list[Any]:
        database = schema.connect(self.path, read_only=True)
        try:
            return database.execute(statement).fetchall()
        finally:
            database.close()


class SharingTests(SharingCase):
    def test_one_claims(self) -> None:
        """What one worker has claimed no other gets, whatever has become due."""
        one, two = self.join(1), self.join(2)
        self.store(one, 1)
        for message in range(2, 7):
            self.store(two, message, claim=False)
        self.assertEqual([2, 3, 4], [entry.message for entry in self.wait(one.claim(100.0, 3))])
        self.assertEqual([5, 6], self.claimed(two))
        self.assertEqual([], self.claimed(one))

    def test_a_new_worker_takes_nothing(self) -> None:
        """A worker that joins leaves the others what they have."""
        one = self.join(1)
        self.store(one, 1)
        self.assertEqual([], self.claimed(self.join(2)))

    def test_dead_worker(self) -> None:
        """What a dead worker had is given back, what it had marked is in doubt, and nothing of the others changes."""
        one, two = self.join(1), self.join(2)
        self.store(one, 1)
        self.store(one, 2)
        self.store(two, 3)
        for spool, message in ((one, 2), (two, 3)):
            self.wait(spool.mark(message, (BOB,), "mx.test"))
        self.wait(self.supervisor.take_over(1, 200.0, lambda _attempts: 300.0))
        self.assertEqual([1], self.claimed(two))
        self.assertEqual([2], self.in_state(State.IN_DOUBT))
        self.assertEqual([(0,), (2,)], self.query("SELECT id FROM workers ORDER BY id"))

    def test_content_of_a_dead_worker(self) -> None:
        """What was arriving at a dead worker is swept, what arrives at a living one stays."""
        ids = [QueueIds(worker) for worker in (1, 2)]
        spools = [self.join(1), self.join(2)]
        arriving = [spool.receive(each.next(100.0)) for spool, each in zip(spools, ids, strict=True)]
        for receiving in arriving:
            receiving.write(b"x" * CHUNK_SIZE)
        self.wait(DeferredList([self.wait_all(spool) for spool in spools]))
        self.wait(self.supervisor.take_over(1, 200.0, None))
        ((left,),) = self.query("SELECT count(*) FROM chunks")
        self.assertEqual(1, left)
        entry = self.wait(arriving[1].commit(envelope(), ORIGIN, 100.0, True))
        self.assertEqual(CHUNK_SIZE, entry.size)
        late = arriving[0].commit(envelope(), ORIGIN, 100.0, True)
        self.assertRaises(SpoolError, self.wait, late)

    def wait_all(self, spool: Spool) -> Any:
        """Fires when all that was written so far is on disk."""
        return spool.mark(0, (), "")

    def test_restarted_worker(self) -> None:
        """A worker that takes the number of a dead one begins with nothing claimed, and with ids above all before."""
        one = self.join(1)
        message = QueueIds(1).next(10_000.0)
        self.store(one, message)
        again = self.join(1)
        self.assertEqual(message, again.largest_id)
        self.assertEqual([message], self.claimed(again))

    def test_start_of_the_whole(self) -> None:
        """The start of the daemon gives back what all workers had."""
        for worker in (1, 2):
            self.store(self.join(worker), worker)
        self.assertEqual([1, 2], self.claimed(self.member(0)))

    def test_writing_at_once(self) -> None:
        """Workers that write at the same time wait for each other, and none of them fails."""
        spools = [self.join(worker) for worker in (1, 2, 3)]
        waiting = []
        for number in range(300):
            receiving = spools[number % 3].receive(1000 + number)
            receiving.write(b"Subject: x\r\n\r\nhello\r\n")
            waiting.append(receiving.commit(envelope(), ORIGIN, 100.0, number % 2 == 0))
        results = self.wait(DeferredList(waiting))
        self.assertEqual({True}, {success for success, _entry in results})
        self.assertEqual([(300,)], self.query("SELECT count(*) FROM messages"))

    def test_another_file(self) -> None:
        """A worker neither makes a spool nor uses one that has come in the place of the daemon's."""
        moved = self.path.rename(self.directory / "moved")
        self.assertRaises(SpoolError, self.join, 1)
        self.assertFalse(self.path.exists())
        self.path.write_bytes(moved.read_bytes())
        self.assertRaises(SpoolError, self.join, 1)

    def test_damage_is_for_all(self) -> None:
        """A worker that is told of damage writes nothing more."""
        one = self.join(1)
        self.wait(one.stop_writing("spool: page 7"))
        self.assertEqual("spool: page 7", one.damage())
        self.assertRaises(SpoolError, self.store, one, 1)
        self.assertEqual([(0,)], self.query("SELECT count(*) FROM messages"))

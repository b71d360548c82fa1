"""The place of a worker: when the next one is started."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mta.daemon.seat import ASK_AGAIN, GOOD_LIFE, OVERTIME, Seat
from mta.spool import SpoolError


class FakeProcess:
    """A worker's process that remembers what it is told."""

    pid: int | None = 7

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.told: list[tuple[str, dict[str, object]]] = []
        self.killed = False

    def tell(self, word: str, **more: object) -> None:
        self.told.append((word, more))

    def kill(self) -> None:
        self.killed = True

    def die(self) -> None:
        self.seat.ended(Failure(ProcessTerminated(signal=9)))


class SeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.processes: list[FakeProcess] = []
        self.inherited: list[int] = []
        self.answer: Deferred[None] | None = None
        self.refusals = 0
        self.seat = Seat(3, self.spawn, self.inherit, self.clock)
        self.seat.start()

    def spawn(self, seat: Seat) -> FakeProcess:
        if self.refusals:
            self.refusals -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.processes.append(FakeProcess(seat))
        return self.processes[-1]

    def inherit(self, number: int) -> Deferred[None]:
        self.inherited.append(number)
        answer, self.answer = self.answer, None
        return succeed(None) if answer is None else answer

    def test_delay_grows(self) -> None:
        """A worker that dies again and again is started after 1, 2, 4, ... and at most 60 seconds."""
        delays = []
        for _ in range(8):
            before, died = len(self.processes), self.clock.seconds()
            self.processes[-1].die()
            while len(self.processes) == before:
                self.clock.advance(1)
            delays.append(self.clock.seconds() - died)
        self.assertEqual([1, 2, 4, 8, 16, 32, 60, 60], delays)

    def test_a_good_life_is_rewarded(self) -> None:
        """After a minute of work the next delay is the first one again."""
        for _ in range(3):
            self.processes[-1].die()
            self.clock.advance(10)
        self.assertEqual(4, len(self.processes))
        self.clock.advance(GOOD_LIFE)
        self.processes[-1].die()
        self.clock.advance(1)
        self.assertEqual(5, len(self.processes))

    def test_claims_are_given_back_at_once(self) -> None:
        """What a dead worker had is given back before the delay, not after it."""
        self.processes[0].die()
        self.assertEqual(([3], 1), (self.inherited, len(self.processes)))

    def test_nobody_sits_down_before_that(self) -> None:
        """While the spool can't give back what the dead one had it is asked again, and no worker is started."""
        self.answer = fail(SpoolError("spool: the disk is full"))
        self.processes[0].die()
        self.clock.advance(ASK_AGAIN - 1)
        self.assertEqual(([3], 1), (self.inherited, len(self.processes)))
        waiting: Deferred[None] = Deferred()
        self.answer = waiting
        self.clock.advance(1)
        self.clock.advance(100)
        self.assertEqual(([3, 3], 1), (self.inherited, len(self.processes)))
        waiting.callback(None)
        self.clock.advance(0)
        self.assertEqual(2, len(self.processes))

    def test_no_process_to_be_had(self) -> None:
        """Where the system has no process to give it is asked again, with the same growing delay."""
        self.refusals = 2
        self.processes[0].die()
        self.clock.advance(1)
        self.clock.advance(2)
        self.assertEqual((0, 1), (self.refusals, len(self.processes)))
        self.clock.advance(4)
        self.assertEqual(2, len(self.processes))

    def test_end_without_a_fault(self) -> None:
        """A worker that somebody told to end is started again, too."""
        self.seat.ended(Failure(ProcessDone(0)))
        self.clock.advance(1)
        self.assertEqual(2, len(self.processes))

    def test_stop(self) -> None:
        """A worker that is stopped has its grace and a little more; then it is killed, and nobody follows."""
        stopped = self.seat.stop(30.0)
        self.assertEqual([("stop", {"grace": 30.0})], self.processes[0].told)
        self.assertNoResult(stopped)
        self.clock.advance(30 + OVERTIME)
        self.assertTrue(self.processes[0].killed)
        self.processes[0].die()
        self.successResultOf(stopped)
        self.clock.advance(1000)
        self.assertEqual((1, []), (len(self.processes), self.clock.getDelayedCalls()))

    def test_stop_in_time(self) -> None:
        """A worker that ends in time is not killed, and leaves no timer."""
        stopped = self.seat.stop(30.0)
        self.seat.ended(Failure(ProcessDone(0)))
        self.successResultOf(stopped)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stop_while_away(self) -> None:
        """A seat that waits for its next worker is left at once, and stays empty."""
        self.processes[0].die()
        self.successResultOf(self.seat.stop(30.0))
        self.clock.advance(100)
        self.assertEqual(1, len(self.processes))

"""Queue managers that share: sites with those of other workers, the spool with their heir."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.destination import Destination, NextHop, Transport
from mta.entry import Delivery, Entry
from mta.envelope import Body
from mta.outcome import Outcome
from mta.policy.counts import SITES
from mta.policy.shared_counts import SharedCounts
from mta.queue.manager import QueueLimits, QueueManager
from mta.queue.sites import SiteLimits
from mta.queue.turns import LOOK_AGAIN, Ending, Turns
from mta.queue.window import Active, Job
from tests.queue.world import LATER, SILENT, World


def job(site: str) -> Job:
    return Job(Active(Entry(1, 0.0, None, 0, Body.SEVEN_BIT, []), 0.0), Destination(NextHop(Transport.MX), site), [])


class Worker:
    """The turns of one worker; attempts end when the test says so."""

    def __init__(self, counts: SharedCounts, clock: Clock, limits: SiteLimits) -> None:
        self.running: list[Job] = []
        self.started = 0
        self.aside = 0
        self.turns = Turns(
            limits, 100, clock.seconds, self._start, self._set_aside, counts.places(SITES), clock.callLater
        )

    def _start(self, job: Job) -> None:
        self.running.append(job)
        self.started += 1

    def _set_aside(self, _site: object, jobs: list[Job]) -> None:
        self.aside += len(jobs)

    def add(self, number: int) -> None:
        for _ in range(number):
            self.turns.add(job("a"))

    def end(self, ending: Ending = Ending.ANSWERED) -> None:
        self.turns.ended(self.running.pop(0), ending, SILENT if ending is Ending.NO_ANSWER else None)


class SharedSiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        descriptor = SharedCounts.make(2, 100)
        self.addCleanup(os.close, descriptor)
        self.counts = [SharedCounts(descriptor, column, self.clock.seconds) for column in range(2)]

    def workers(self, initial: int, maximum: int) -> tuple[Worker, Worker]:
        limits = SiteLimits(initial, maximum, 1, 60.0, 3600.0)
        one, two = (Worker(counts, self.clock, limits) for counts in self.counts)
        return one, two

    def test_site_limit_over_workers(self) -> None:
        """All workers together start no more than the window allows, and a freed place is used by the next look."""
        one, two = self.workers(4, 4)
        one.add(10)
        two.add(10)
        self.assertEqual((4, 0), (len(one.running), len(two.running)))
        one.end()
        self.clock.advance(LOOK_AGAIN)
        self.assertEqual((3, 1), (len(one.running), len(two.running)))
        for _ in range(20):
            if len(one.running) > 2:
                one.end()
            self.clock.advance(LOOK_AGAIN)
            self.assertLessEqual(len(one.running) + len(two.running), 4)
        self.assertEqual((2, 2), (len(one.running), len(two.running)), "each has its share")

    def test_own_place_is_used_at_once(self) -> None:
        """With its share a worker goes on without a pause: an attempt that ends lets the next one start."""
        one, two = self.workers(2, 2)
        one.add(1)
        two.add(1)
        one.add(5)
        two.add(5)
        self.clock.pump([LOOK_AGAIN] * 4)
        for _ in range(5):
            for worker in (one, two):
                worker.end()
                self.assertEqual(1, len(worker.running))

    def test_only_place_goes_round(self) -> None:
        """A site that takes one connection takes it from each worker in turn, and all that waits goes out."""
        one, two = self.workers(1, 1)
        one.add(6)
        two.add(6)
        order = []
        for _ in range(200):
            for name, worker in (("one", one), ("two", two)):
                if worker.running:
                    worker.end()
                    order.append(name)
            self.assertLessEqual(len(one.running) + len(two.running), 1)
            self.clock.advance(LOOK_AGAIN)
        self.assertEqual(["one", "two"] * 6, order)

    def test_one_probe(self) -> None:
        """A dead site is asked by one attempt of one worker when its time has come."""
        one, two = self.workers(1, 5)
        for worker in (one, two):
            worker.add(1)
            self.clock.advance(LOOK_AGAIN)
            worker.end(Ending.NO_ANSWER)
        self.clock.advance(61)
        for worker in (one, two):
            worker.add(3)
        self.assertEqual(1, len(one.running) + len(two.running))

    def test_dead_worker_frees_the_site(self) -> None:
        """What a dead worker held is free once it is wiped."""
        one, two = self.workers(2, 2)
        one.add(2)
        two.add(1)
        self.assertEqual(0, len(two.running))
        self.counts[1].wipe(0)
        self.clock.advance(LOOK_AGAIN)
        self.assertEqual(1, len(two.running))


class OthersTests(SynchronousTestCase):
    def test_others_are_called_when_there_is_no_room(self) -> None:
        """What comes while the window is full is left to others, who are told."""
        calls: list[int] = []
        world = World(limits=QueueLimits(4, 1000, 100, 50, 1 << 20))
        world.manager._others = lambda: calls.append(1)
        world.hang("a.test")
        for _ in range(3):
            world.send("bob@a.test")
        self.assertEqual([], calls)
        for _ in range(3):
            world.send("bob@a.test")
        self.assertNotEqual([], calls)

    def test_look(self) -> None:
        """A manager that is told to look takes what another process has left."""
        world = World()
        world.manager.stop()
        message = world.send("bob@a.test")
        other = heir(world)
        self.assertEqual(["accepted"], world.kinds(message))
        other.look()
        world.settle()
        self.assertEqual("delivered", world.kinds(message)[-1])


def heir(world: World) -> QueueManager:
    """Another manager on the spool of the same process."""
    return QueueManager(
        spool=world.spool,
        agent=world.agent,
        router=world.manager._planner._router,
        destinations=world.destinations,
        schedule=world.schedule,
        site_limits=world.site_limits,
        limits=world.limits,
        bouncer=world.bouncer,
        ids=world.ids,
        clock=world.clock,
        rng=world.rng,
    )


class HandOverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def hand_over(self) -> tuple[QueueManager, list[Any]]:
        """A new manager takes the place of the old one; what fires when the old one has nothing left."""
        old, new = self.world.manager, heir(self.world)
        self.world.manager = new
        ended: list[Any] = []
        old.hand_over(new).addCallback(ended.append)
        new.start()
        self.world.settle()
        self.old = old
        return new, ended

    def test_what_waits_goes_on(self) -> None:
        """What waited for its turn goes out by the heir, with no event and no attempt for the change."""
        self.world.agent.answers["a.test"] = lambda _delivery: Deferred()
        messages = [self.world.send(f"user{number}@a.test") for number in range(8)]
        self.assertEqual(5, len(self.world.agent.asked))
        self.world.agent.answers.clear()
        _new, ended = self.hand_over()
        self.assertEqual(8, len(self.world.agent.asked))
        self.assertEqual(["accepted", "routed", "delivered"], self.world.kinds(messages[7]))
        self.assertEqual((5, []), (self.old.running, ended))

    def test_attempts_end_in_peace(self) -> None:
        """An attempt that is under way is made once, and what it deferred is tried again by the heir at its time."""
        waiting = self.world.hang("a.test")
        message = self.world.send("bob@a.test")
        _new, ended = self.hand_over()
        self.world.agent.answers.clear()
        self.assertEqual((1, 1, []), (len(self.world.agent.asked), self.old.running, ended))
        waiting["a.test"].callback(dict.fromkeys(self.world.agent.asked[0].recipients, LATER))
        self.world.settle()
        self.assertEqual((0, [None]), (self.old.active, ended))
        self.world.advance(301)
        self.assertEqual(["accepted", "routed", "deferred", "routed", "delivered"], self.world.kinds(message))

    def test_message_with_more_to_do(self) -> None:
        """Of a message with one attempt under way and another waiting, each is made once."""
        self.world.hang("a.test")
        for number in range(5):
            self.world.send(f"user{number}@a.test")
        message = self.world.send("last@a.test", "bob@b.test")
        self.world.agent.answers.clear()
        self.hand_over()
        self.assertEqual([], [row for row in self.world.queued() if row[0] == message])
        self.assertEqual(2, self.world.kinds(message).count("delivered"))

    def test_new_mail_of_old_sessions(self) -> None:
        """What a session that began before hands in goes out by the heir."""
        self.hand_over()
        new, self.world.manager = self.world.manager, self.old
        message = self.world.send("bob@a.test")
        self.assertEqual(["accepted", "routed", "delivered"], self.world.kinds(message))
        self.assertEqual((0, 0), (self.old.active, new.active))

    def test_a_plan_that_comes_late(self) -> None:
        """A message whose next hop the DNS was still asked for is planned anew by the heir."""
        asked: Any = Deferred()
        self.world.destinations.delayed = {"a.test": asked}
        message = self.world.send("bob@a.test")
        _new, ended = self.hand_over()
        self.assertEqual([], ended)
        self.world.destinations.delayed = {}
        asked.callback(Destination(NextHop(Transport.MX), "a.test"))
        self.world.settle()
        self.assertEqual(["accepted", "routed", "delivered"], self.world.kinds(message))
        self.assertEqual([None], ended)

    def test_last_reply_stays(self) -> None:
        """The change leaves no trace in what an operator sees of a recipient."""
        self.world.agent.default = lambda _delivery: LATER
        self.world.send("bob@a.test")
        before = self.world.database.execute("SELECT last_reply, attempts FROM recipients").fetchall()
        self.world.hang("a.test")
        self.world.agent.default = self.never
        for number in range(5):
            self.world.send(f"user{number}@a.test")
        self.world.advance(301)
        self.hand_over()
        after = self.world.database.execute("SELECT last_reply, attempts FROM recipients WHERE attempts > 0").fetchall()
        self.assertEqual(before, after)

    def never(self, _delivery: Delivery) -> Outcome:
        raise AssertionError("no attempt is expected")

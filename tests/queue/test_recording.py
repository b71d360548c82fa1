"""What became of a message sticks: in order, once, and while the disk fails."""

from __future__ import annotations

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from mta.address import parse_address
from mta.queue.manager import QueueLimits
from mta.selection import Selection
from tests.queue.world import DELIVERED, LATER, REFUSED, World

X, Y = parse_address("x@a.test"), parse_address("y@b.test")


class OrderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.answers = self.world.hang("a.test", "b.test")
        self.message = self.world.send(str(X), str(Y))

    def deliver_unrecorded(self) -> None:
        """X is delivered, and the disk fails in that instant."""
        self.world.break_disk()
        self.answers["a.test"].callback({X: DELIVERED})
        self.world.settle()
        self.world.mend_disk()

    def test_claim_is_kept_until_all_is_recorded(self) -> None:
        """A delivery that is not on disk yet is not made again because another of the message was recorded first."""
        self.deliver_unrecorded()
        self.answers["b.test"].callback({Y: DELIVERED})
        self.world.settle()
        self.world.manager.due_changed()
        self.world.advance(100, step=1)
        self.assertEqual(2, len(self.world.agent.asked))
        self.assertEqual(2, self.world.kinds(self.message).count("delivered"))
        self.assertEqual(([], 0), (self.world.queued(), self.world.manager.active))

    def test_crash_is_counted_when_all_is_recorded(self) -> None:
        """A crash gives the claim back, so it waits for what is not on disk yet."""
        self.deliver_unrecorded()
        self.answers["b.test"].errback(KeyError("a bug"))
        self.world.settle()
        self.assertNotIn("crashed", self.world.kinds(self.message))
        self.world.agent.answers.clear()
        self.world.advance(1000, step=1)
        self.assertEqual(["a.test", "b.test", "b.test"], [item.destination.site for item in self.world.agent.asked])
        self.assertEqual(1, self.world.kinds(self.message).count("crashed"))
        self.assertEqual(([], 0), (self.world.queued(), self.world.manager.active))
        self.flushLoggedErrors(KeyError)

    def test_crash_does_not_hide_a_bounce(self) -> None:
        """One recipient refused, another crashes us: the sender is told at once, and the crash counts."""
        self.answers["a.test"].callback({X: REFUSED})
        self.answers["b.test"].errback(KeyError("a bug"))
        self.world.settle()
        self.assertEqual(["sender.test"], [item.destination.site for item in self.world.agent.asked[2:]])
        self.assertIn("bounced", self.world.kinds(self.message))
        self.assertIn("crashed", self.world.kinds(self.message))
        self.assertEqual([(self.message, str(Y), "queued")], self.world.queued())
        self.flushLoggedErrors(KeyError)

    def test_bug_in_a_report_waits_for_the_other_jobs(self) -> None:
        """A report that raises is a crash of the message; its claim is kept while another attempt is under way."""
        real = self.world.spool.record
        self.world.spool.record = lambda report: succeed(report).addCallback(lambda _: 1 / 0)  # type: ignore[method-assign]
        self.answers["a.test"].callback({X: LATER})
        self.world.spool.record = real  # type: ignore[method-assign]
        self.world.manager.due_changed()
        self.world.advance(3000)
        self.assertEqual(2, len(self.world.agent.asked))
        self.answers["b.test"].callback({Y: DELIVERED})
        self.world.settle()
        self.assertEqual(["delivered", "crashed"], self.world.kinds(self.message)[-2:])
        self.assertEqual([(self.message, str(X), "queued")], self.world.queued())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class StopTests(SynchronousTestCase):
    def test_stop_with_a_job_that_never_started(self) -> None:
        """Stopping does not wait for a job that waits for its turn, though another of its message was running."""
        world = World(limits=QueueLimits(1000, 10_000, 1, 50, 1 << 20))
        answers = world.hang("a.test", "b.test")
        message = world.send(str(X), str(Y))
        stopped = world.manager.stop()
        answers["a.test"].callback({X: DELIVERED})
        world.settle()
        self.successResultOf(stopped)
        self.assertEqual([(message, str(Y), "queued")], world.queued())

    def test_stop_waits_for_the_disk(self) -> None:
        """A delivery that could not be recorded yet keeps the queue from having stopped: a restart would repeat it."""
        world = World()
        answers = world.hang("a.test")
        world.send(str(X))
        world.break_disk()
        answers["a.test"].callback({X: DELIVERED})
        world.settle()
        stopped = world.manager.stop()
        self.assertNoResult(stopped)
        world.mend_disk()
        world.advance(6)
        self.successResultOf(stopped)
        self.assertEqual([], world.queued())


class DueTests(SynchronousTestCase):
    """What is due later of a message whose other recipients were just worked on."""

    def test_recipients_that_are_due_apart(self) -> None:
        """Two recipients come due seconds apart: the end of the first one's attempt does not hide the second."""
        world = World(jitter=0.1)
        world.agent.default = lambda _delivery: LATER
        world.send(str(X), str(Y))
        answers = world.hang("a.test", "b.test")
        while not answers:
            world.advance(1, step=1)
        world.advance(60, step=1)
        ((site, answer),) = answers.items()
        answer.callback({X if site == "a.test" else Y: DELIVERED})
        world.agent.answers.clear()
        world.agent.default = lambda _delivery: DELIVERED
        world.advance(1)
        self.assertEqual([], world.queued())

    def test_recipients_that_went_together_come_back_together(self) -> None:
        """Jitter spreads messages; it does not tear a transaction of forty recipients into forty."""
        world = World(jitter=0.1)
        world.agent.default = lambda _delivery: LATER
        world.send(*[f"u{number}@a.test" for number in range(40)])
        world.agent.asked.clear()
        world.advance(400, step=1)
        self.assertEqual([40], [len(delivery.recipients) for delivery in world.agent.asked])

    def test_released_during_the_attempt_of_another(self) -> None:
        """A recipient that was held when its message was claimed, and is released meanwhile, goes out after it."""
        world = World()
        world.agent.default = lambda _delivery: LATER
        world.send(str(X), str(Y))
        world.spool.hold(Selection(recipient=str(Y)), "root", world.clock.seconds())
        world.settle()
        answers = world.hang("a.test")
        world.agent.default = lambda _delivery: DELIVERED
        world.advance(301)
        world.spool.unhold(Selection(recipient=str(Y)), "root", world.clock.seconds())
        world.settle()
        world.manager.due_changed()
        world.settle()
        answers["a.test"].callback({X: DELIVERED})
        world.settle()
        self.assertEqual([], world.queued())

    def test_retried_during_the_attempt_of_another(self) -> None:
        """A recipient that was deferred and is retried by an operator goes out once its message's attempt is over."""
        world = World()
        answers = world.hang("a.test")
        world.agent.answers["b.test"] = lambda _delivery: LATER
        world.send(str(X), str(Y))
        world.agent.answers["b.test"] = lambda _delivery: DELIVERED
        world.spool.retry(Selection(), "root", world.clock.seconds())
        world.settle()
        world.manager.due_changed()
        world.settle()
        answers["a.test"].callback({X: DELIVERED})
        world.settle()
        self.assertEqual([], world.queued())


class BrokenAgentTests(SynchronousTestCase):
    def test_agent_that_gives_no_outcomes(self) -> None:
        """An agent that answers with anything else costs no place of its site: all is deferred, as after a crash."""
        for nonsense in (None, 7, "text", [DELIVERED], {X: "what"}):
            for give in (lambda answer: answer, succeed):
                world = World()
                world.agent.deliver = lambda _delivery, give=give, answer=nonsense: give(answer)  # type: ignore
                messages = [world.send(str(X)) for _ in range(6)]
                self.assertEqual((0, 0), (world.manager.running, world.manager.active), nonsense)
                self.assertEqual([(message, str(X), "queued") for message in messages], world.queued())
                self.assertEqual("crashed", world.kinds(messages[-1])[-1])
                self.assertEqual(6, len(self.flushLoggedErrors()))

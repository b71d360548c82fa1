"""Messages whose end was sent and that nobody answered for: retried or held, and never lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.entry import Delivery, State
from mta.outcome import Deferral, Outcome, Phase, Scope
from mta.reply import Reply
from mta.selection import Selection
from mta.spool import SpoolError, reading
from mta.spool.reading import QueueRow
from tests.queue.world import DELIVERED, LATER, REFUSED, SILENT, START, World

X, Y = parse_address("x@a.test"), parse_address("y@a.test")
HOST = "mx.a.test[192.0.2.1]:25"
LOST = Deferral(f"{HOST} closed the connection", Phase.END_OF_DATA, Scope.MESSAGE, HOST, enhanced="4.4.2").doubted()
ANSWERED = replace(LATER, reply=Reply(450, ("4.2.1 later",)))

Answer = Deferred[Mapping[Address, Outcome]]


class DoubtCase(SynchronousTestCase):
    hold_doubt = False

    def setUp(self) -> None:
        self.world = World(hold_doubt=self.hold_doubt)

    def in_doubt(self) -> list[QueueRow]:
        return list(reading.list_queue(self.world.database, Selection(state=State.IN_DOUBT)))

    def hang_after_mark(self) -> None:
        """Attempts mark who they are for, as at the final dot, and then hear nothing."""

        def wait(delivery: Delivery) -> Answer:
            answer: Answer = Deferred()
            delivery.mark(delivery.recipients, HOST)
            return answer

        self.world.agent.default = wait


class RetryTests(DoubtCase):
    def test_lost_behind_the_dot(self) -> None:
        """It is tried again by the usual schedule, with an event of its own, and listed until there is an answer."""
        world = self.world
        world.agent.default = lambda _delivery: LOST
        message = world.send("x@a.test")
        (row,) = self.in_doubt()
        self.assertEqual((message, 1, START + 300), (row.message, row.attempts, row.due))
        (detail,) = world.details(message, "in-doubt")
        expected = {"attempt": 1, "host": HOST, "phase": "end-of-data", "due": START + 300}
        self.assertEqual(expected, {key: detail[key] for key in expected})
        self.assertIn("may have been delivered", str(detail["reason"]))
        self.assertNotIn("deferred", world.kinds(message))
        world.agent.default = lambda _delivery: SILENT
        world.advance(300)
        self.assertEqual([2], [row.attempts for row in self.in_doubt()])
        world.agent.default = lambda _delivery: ANSWERED
        world.advance(600)
        self.assertEqual([], self.in_doubt())
        world.agent.default = lambda _delivery: DELIVERED
        world.advance(3600)
        self.assertEqual([], world.queued())
        kinds = [kind for kind in world.kinds(message) if kind not in ("accepted", "routed")]
        self.assertEqual(["in-doubt", "deferred", "deferred", "delivered"], kinds)

    def test_killed_between_dot_and_reply(self) -> None:
        """A restart finds it in doubt: the attempt counts, the next is by the schedule, and one delivery ends it."""
        world = self.world
        self.hang_after_mark()
        message = world.send("x@a.test", "y@a.test")
        self.assertEqual([], self.in_doubt())
        world.advance(100)
        world.agent.default = lambda _delivery: DELIVERED
        world.restart()
        self.assertEqual([(1, START + 400)] * 2, [(row.attempts, row.due) for row in self.in_doubt()])
        self.assertEqual(1, len(world.agent.asked))
        world.advance(301)
        self.assertEqual(2, len(world.agent.asked))
        self.assertEqual([], world.queued())
        kinds = world.kinds(message)
        self.assertEqual((2, 2), (kinds.count("in-doubt"), kinds.count("delivered")))

    def test_killed_before_the_mark(self) -> None:
        """An attempt that had not come to its end is just made again."""
        world = self.world
        world.hang("a.test")
        message = world.send("x@a.test")
        world.agent.answers.clear()
        world.restart()
        self.assertEqual(([], 2), (world.queued(), len(world.agent.asked)))
        self.assertNotIn("in-doubt", world.kinds(message))

    def test_marked_and_answered(self) -> None:
        """A recipient that was marked and got its answer is in no doubt, at the next start neither."""
        world = self.world
        for outcome in (DELIVERED, REFUSED, ANSWERED):

            def answer(delivery: Delivery, outcome: Outcome = outcome) -> Answer:
                marked = delivery.mark(delivery.recipients, HOST)
                return marked.addCallback(lambda _done: dict.fromkeys(delivery.recipients, outcome))

            world.agent.answers["a.test"] = answer
            message = world.send("x@a.test")
            world.restart()
            self.assertNotIn("in-doubt", world.kinds(message), outcome)

    def test_who_may_be_marked_early(self) -> None:
        """Only the mark of a message to one recipient: another's outcome may wait for the rest of the message."""
        world = self.world
        world.send("x@a.test")
        world.send("x@a.test", "y@b.test")
        self.assertEqual([True, False, False], [delivery.alone for delivery in world.agent.asked])

    def test_mark_fails(self) -> None:
        """A disk that takes no mark fails it, so that the agent sends nothing."""
        world = self.world
        waiting = world.hang("a.test")
        world.send("x@a.test")
        (delivery,) = world.agent.asked
        world.break_disk()
        mark = delivery.mark((X,), HOST)
        world.settle()
        self.failureResultOf(mark, SpoolError)
        world.mend_disk()
        waiting["a.test"].callback({X: DELIVERED})
        world.settle()
        self.assertEqual([], world.queued())

    def test_agent_raises_behind_the_mark(self) -> None:
        """A bug of ours behind the mark leaves the doubt, for those who were marked."""
        world = self.world
        waiting = world.hang("a.test")
        world.send("x@a.test", "y@a.test")
        world.agent.asked[0].mark((X,), HOST)
        world.settle()
        waiting["a.test"].errback(KeyError("a bug"))
        world.settle()
        self.assertEqual([str(X)], [row.recipient for row in self.in_doubt()])
        self.flushLoggedErrors(KeyError)

    def test_lifetime_ends_in_doubt(self) -> None:
        """The last attempt of a lifetime ends it as ever, and the sender reads that it may have been delivered."""
        world = self.world
        world.agent.answers["a.test"] = lambda _delivery: LOST
        world.hang("sender.test")
        message = world.send("x@a.test")
        world.advance(432_000, step=600)
        self.assertIn("expired", world.kinds(message))
        self.assertEqual([], [row for row in world.queued() if row[0] == message])
        (report,) = world.reports()
        self.assertIn("may have been delivered", " ".join(str(report).split()))


class HoldTests(DoubtCase):
    hold_doubt = True

    def test_lost_behind_the_dot(self) -> None:
        """It waits for an operator, however long, and a release makes the next attempt."""
        world = self.world
        world.agent.answers["a.test"] = lambda _delivery: LOST
        message = world.send("x@a.test")
        world.advance(500_000, step=5000)
        self.assertEqual([(1, None)], [(row.attempts, row.due) for row in self.in_doubt()])
        self.assertNotIn("due", world.details(message, "in-doubt")[0])
        self.assertEqual([], world.reports())
        world.agent.answers.clear()
        released = self.successResultOf(self.waited(world.spool.unhold(Selection(), "root", world.clock.seconds())))
        self.assertEqual([(message, "x@a.test")], released)
        world.manager.due_changed()
        world.settle()
        self.assertEqual([], world.queued())
        self.assertEqual(1, world.kinds(message).count("delivered"))

    def waited(self, waiting: Deferred[list[tuple[int, str]]]) -> Deferred[list[tuple[int, str]]]:
        self.world.settle()
        return waiting

    def test_killed_between_dot_and_reply(self) -> None:
        """A restart holds it, and goes on with the recipients that were not marked."""
        world = self.world

        def wait(delivery: Delivery) -> Answer:
            delivery.mark((X,), HOST)
            return Deferred()

        world.agent.default = wait
        world.send("x@a.test", "y@a.test")
        world.agent.default = lambda _delivery: DELIVERED
        world.restart()
        world.advance(10_000, step=1000)
        self.assertEqual([str(X)], [row.recipient for row in self.in_doubt()])
        self.assertEqual(1, len(world.queued()))

    def test_other_recipients_go_on(self) -> None:
        """One recipient in doubt holds up no other of the message: it is retried, and leaves."""
        world = self.world
        world.agent.default = lambda _delivery: {X: LOST, Y: ANSWERED}
        world.send("x@a.test", "y@a.test")
        world.agent.default = lambda _delivery: DELIVERED
        world.advance(300)
        self.assertEqual([str(X)], [row.recipient for row in self.in_doubt()])
        self.assertEqual(1, len(world.queued()))

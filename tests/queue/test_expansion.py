"""That an alias was expanded: told once, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from mta.address import parse_address
from mta.destination import Destination, NextHop, Transport
from mta.envelope import Notify
from mta.outcome import Deferral, Failure
from mta.queue.manager import QueueLimits
from mta.queue.report_rate import ReportRate
from tests.queue.reporting import FINAL, HOUR, ReportCase
from tests.queue.world import LATER, REFUSED, notified


class ExpandedTests(ReportCase):
    TEAM = notified("team@home.test", Notify.SUCCESS, orcpt="rfc822;team@home.test")

    def test_told_when_accepted(self) -> None:
        """RFC 3461 5.2.7.3: an alias for several is reported as expanded, at once, if its sender asked."""
        self.answer(LATER)
        self.world.send("x@a.test", "y@a.test", expanded=[self.TEAM, notified("other@home.test", Notify.FAILURE)])
        self.assertEqual([("team@home.test", "expanded")], self.world.told())
        self.world.advance(HOUR)
        self.assertEqual([("team@home.test", "expanded")], self.world.told())

    def test_full_window(self) -> None:
        """Mail that has to wait in the spool has its sender told as soon as there is room for it."""
        self.world.limits = QueueLimits(1, 1, 1, 1, 1 << 20)
        self.world.restart()
        answers = self.world.hang("a.test")
        self.world.send("x@a.test")
        self.assertFalse(self.world.manager.wants_claim())
        self.world.send("y@b.test", expanded=[self.TEAM])
        self.assertEqual([], self.world.told())
        answers["a.test"].callback({parse_address("x@a.test"): FINAL})
        self.world.settle()
        self.assertEqual([("team@home.test", "expanded")], self.world.told())

    def test_killed_before_it_is_told(self) -> None:
        """A crash between the 250 and the report loses nothing: the next start tells it, and none tells it again."""
        self.world.limits = QueueLimits(0, 1, 1, 1, 1 << 20)
        self.world.restart()
        self.world.send("x@a.test", expanded=[self.TEAM])
        self.assertEqual([], self.world.told())
        self.world.limits = QueueLimits(1000, 10_000, 100, 50, 1 << 20)
        self.answer(LATER)
        for _start in range(3):
            self.world.restart()  # without a stop: the manager before it is dead, and its claims are taken over
            self.assertEqual([("team@home.test", "expanded")], self.world.told())
        self.world.advance(HOUR)
        self.assertEqual([("team@home.test", "expanded")], self.world.told())

    def test_told_with_the_first_of_the_message(self) -> None:
        """A message that ends at once has the alias and its end in one report; the alias is told though it ended."""
        self.answer(REFUSED)
        self.world.destinations.table["a.test"] = REFUSED
        self.world.send("x@a.test", expanded=[self.TEAM])
        self.assertEqual([("team@home.test", "expanded"), ("x@a.test", "failed")], self.world.told())
        self.assertEqual(1, len(self.world.reports()))

    def test_beyond_the_rate(self) -> None:
        """A report that the rate forbids is not made up for later, nor after a restart."""
        self.world.bouncer = replace(self.world.bouncer, rate=ReportRate(1))
        self.world.restart()
        self.answer(LATER)
        for name in "xy":
            self.world.send(f"{name}@a.test", expanded=[self.TEAM])
        self.world.bouncer = replace(self.world.bouncer, rate=ReportRate(0))
        self.world.restart()
        self.world.advance(HOUR)
        self.assertEqual([("team@home.test", "expanded")], self.world.told())

    def test_disk_that_fails(self) -> None:
        """What can't be written yet is written later; stopping waits for it, and the message keeps its claim."""
        answers = self.world.hang("a.test")
        located: Deferred[Destination | Deferral | Failure] = Deferred()
        self.world.destinations.delayed["a.test"] = located
        message = self.world.send("x@a.test", expanded=[self.TEAM])
        self.world.break_disk()
        located.callback(Destination(NextHop(Transport.MX), "a.test"))
        self.world.settle()
        answers["a.test"].callback({parse_address("x@a.test"): FINAL})
        self.world.settle()
        self.assertEqual([], self.world.told())
        stopped = self.world.manager.stop()
        self.assertNoResult(stopped)
        self.world.mend_disk()
        self.world.advance(10, step=1)
        self.successResultOf(stopped)
        self.assertEqual([("team@home.test", "expanded")], self.world.told())
        self.assertEqual(1, self.world.kinds(message).count("delivered"))

"""Time that follows the clock's drift and not its jumps."""

from __future__ import annotations

from twisted.internet.base import ReactorBase
from twisted.trial.unittest import SynchronousTestCase

from mta import steady
from mta.steady import SteadyTime

DAY = 86_400.0


class SteadyTimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wall, self.passed = 1e9, 50.0
        self.jumps: list[float] = []
        self.time = SteadyTime(lambda: self.wall, lambda: self.passed, self.jumps.append)

    def test_passes(self) -> None:
        """While nobody sets the clock it is the clock's time, however long nobody asks."""
        self.assertEqual(1e9, self.time())
        self.wall, self.passed = self.wall + 5 * DAY, self.passed + 5 * DAY
        self.assertEqual(1e9 + 5 * DAY, self.time())
        self.assertEqual([], self.jumps)

    def test_follows_small_steps(self) -> None:
        """Drift and what a time service steps by are followed."""
        for step in (0.5, -2.0, 29.0):
            self.wall += step
            self.assertEqual(self.wall, self.time())
        self.assertEqual([], self.jumps)

    def test_jumps(self) -> None:
        """A day forward, a day back, both in turn: time goes on, and each jump is told once."""
        self.wall += DAY
        self.assertEqual(1e9, self.time())
        self.wall, self.passed = self.wall + 10, self.passed + 10
        self.assertEqual(1e9 + 10, self.time())
        self.wall -= 2 * DAY
        self.assertEqual(1e9 + 10, self.time())
        self.wall += DAY
        self.assertEqual(1e9 + 10, self.time())
        self.assertEqual([DAY, -2 * DAY, DAY], self.jumps)

    def test_reactor(self) -> None:
        """A reactor of Twisted's takes it for all its timers."""
        reactor = ReactorBase.__new__(ReactorBase)
        steady.keep(reactor)
        self.assertIsInstance(reactor.seconds, SteadyTime)
        self.assertLess(1.7e9, reactor.seconds())

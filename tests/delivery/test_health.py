"""Which addresses did not answer lately."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.delivery import health
from mta.delivery.health import Health

A = ("192.0.2.1", 25)


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.health = Health(60.0, 3600.0)

    def test_marks_double_up_to_the_longest(self) -> None:
        """An address that fails each time it is tried again is marked for 60 s, twice that, ... an hour."""
        now = 0.0
        waits = []
        for _ in range(9):
            self.health.failed(*A, now)
            began = now
            while self.health.is_dead(*A, now):
                now += 1.0
            waits.append(now - began)
        self.assertEqual([60, 120, 240, 480, 960, 1920, 3600, 3600, 3600], waits)

    def test_failures_under_way_count_once(self) -> None:
        """Connections that were begun before the mark do not double it."""
        for _ in range(20):
            self.health.failed(*A, 5.0)
        self.assertFalse(self.health.is_dead(*A, 65.0))

    def test_answer_clears_the_mark(self) -> None:
        """An address that answers is as good as new; other ports and addresses have marks of their own."""
        self.health.failed(*A, 0.0)
        self.assertFalse(self.health.is_dead("192.0.2.1", 26, 1.0))
        self.assertFalse(self.health.is_dead("192.0.2.2", 25, 1.0))
        self.health.answered(*A)
        self.assertFalse(self.health.is_dead(*A, 1.0))
        self.health.failed(*A, 2.0)
        self.assertFalse(self.health.is_dead(*A, 62.0))

    def test_clock_set_back_lengthens_nothing(self) -> None:
        """A mark made before the clock went back a day does not hold for a day."""
        self.health.failed(*A, 100_000.0)
        self.assertFalse(self.health.is_dead(*A, 13_600.0))

    def test_memory_is_bounded(self) -> None:
        """However many addresses fail, a bounded number is remembered, and the newest among them."""
        self.patch(health, "MAX_ADDRESSES", 3)
        for number in range(5):
            self.health.failed(f"192.0.2.{number}", 25, 0.0)
        dead = [number for number in range(5) if self.health.is_dead(f"192.0.2.{number}", 25, 1.0)]
        self.assertEqual([2, 3, 4], dead)

"""When a recipient is tried again."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from mta.queue.schedule import Schedule

SCHEDULE = Schedule((300.0, 600.0, 14_400.0), 0.0, 432_000.0, 86_400.0)


class ScheduleTests(SynchronousTestCase):
    def test_waits_follow_the_ladder_and_the_last_repeats(self) -> None:
        """RFC 5321 4.5.4.1: the waits are the configured ones, and the last one goes on."""
        waits = [SCHEDULE.next_try(0.0, attempts, 1e9, random.Random(1)) for attempts in (1, 2, 3, 4, 50)]
        self.assertEqual([300.0, 600.0, 14_400.0, 14_400.0, 14_400.0], waits)

    def test_jitter_spreads_within_its_share(self) -> None:
        """With a jitter of a tenth each wait is within a tenth of its length, and they differ."""
        schedule = Schedule((1000.0,), 0.1, 1e6, 1e6)
        rng = random.Random(2)
        waits = [schedule.next_try(0.0, 1, 1e9, rng) for _ in range(500)]
        self.assertGreater(min(waits), 899.9)
        self.assertLess(max(waits), 1100.1)
        self.assertGreater(max(waits) - min(waits), 150)

    def test_last_attempt_is_made_when_the_lifetime_ends(self) -> None:
        """No wait goes past the expiry; what is past it (a fault of ours) goes on by the ladder."""
        self.assertEqual(1000.0, SCHEDULE.next_try(990.0, 1, 1000.0, random.Random(1)))
        self.assertEqual(1300.0, SCHEDULE.next_try(1000.0, 1, 1000.0, random.Random(1)))

    def test_reports_have_a_shorter_life(self) -> None:
        """The null reverse-path has its own lifetime."""
        self.assertEqual(432_100.0, SCHEDULE.expiry(100.0, is_bounce=False))
        self.assertEqual(86_500.0, SCHEDULE.expiry(100.0, is_bounce=True))

"""The concurrency window and the dead mark of a site."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.queue.sites import SiteLimits, SiteWindow

LIMITS = SiteLimits(initial=5, maximum=20, cohort_failures=1, dead_initial=60.0, dead_maximum=3600.0)


def fail(window: SiteWindow, now: float) -> None:
    window.started()
    window.did_not_answer(now)


def succeed(window: SiteWindow) -> None:
    window.started()
    window.answered()


class SiteWindowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.window = SiteWindow(LIMITS)

    def die(self, now: float) -> None:
        while not self.window.is_dead(now):
            fail(self.window, now)

    def test_begins_with_the_initial_window(self) -> None:
        """Five attempts may run at once, not six."""
        for _ in range(5):
            self.assertTrue(self.window.may_start(0.0))
            self.window.started()
        self.assertFalse(self.window.may_start(0.0))

    def test_success_widens_to_the_maximum(self) -> None:
        """Each success widens by 1/window: about window successes for one more place, never above the maximum."""
        for _ in range(6):
            succeed(self.window)
        self.assertEqual(6, self.window.concurrency)
        for _ in range(1000):
            succeed(self.window)
        self.assertEqual(20, self.window.concurrency)

    def test_one_failure_narrows_and_does_not_kill(self) -> None:
        """A single attempt without an answer is no reason to leave a site alone."""
        fail(self.window, 0.0)
        self.assertFalse(self.window.is_dead(0.0))
        self.assertEqual(4, self.window.concurrency)

    def test_success_between_failures_keeps_a_site_alive(self) -> None:
        """The cohort counts failures in a row only."""
        for _ in range(100):
            fail(self.window, 0.0)
            succeed(self.window)
        self.assertFalse(self.window.is_dead(0.0))

    def test_waits_double_up_to_the_longest(self) -> None:
        """A dead site is asked after 60 s, then twice as long each time, up to an hour, by one probe."""
        now = 0.0
        self.die(now)
        waits = []
        for _ in range(9):
            waits.append(self.window.dead_until - now)
            now = self.window.dead_until
            self.assertTrue(self.window.may_start(now))
            self.assertEqual(1, self.window.concurrency)
            fail(self.window, now)
        self.assertEqual([60, 120, 240, 480, 960, 1920, 3600, 3600, 3600], waits)

    def test_a_cohort_that_fails_together_doubles_once(self) -> None:
        """Attempts that were under way when the site died do not lengthen the wait."""
        for _ in range(5):
            self.window.started()
        for _ in range(5):
            self.window.did_not_answer(0.0)
        self.assertEqual(60.0, self.window.dead_until)

    def test_answer_revives_it_with_the_initial_window(self) -> None:
        """A probe that is answered makes the site as good as new, and its next death begins with the first wait."""
        self.die(0.0)
        succeed(self.window)
        self.assertEqual(5, self.window.concurrency)
        self.die(100.0)
        self.assertEqual(160.0, self.window.dead_until)

    def test_clock_set_back_does_not_lengthen_the_wait(self) -> None:
        """A clock that jumps back by a day leaves the site askable."""
        self.die(100_000.0)
        self.assertFalse(self.window.is_dead(100_000.0 - 86_400.0))

    def test_our_own_faults_say_nothing(self) -> None:
        """An attempt that ended by a fault of ours frees its place and changes nothing else."""
        for _ in range(50):
            self.window.started()
            self.window.ended()
        self.assertEqual(5, self.window.concurrency)
        self.assertFalse(self.window.is_dead(0.0))

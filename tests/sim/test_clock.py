"""The simulated time keeps the contract of Twisted's `Clock`, and its order."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.sim.clock import SimulatedClock

Step = tuple[str, int, int]  # what is done, to which call, with how many seconds


def story(clock: Clock, steps: list[Step]) -> list[tuple[str, float]]:
    """What a clock does when calls are made, put off, drawn near and cancelled; each call is told with its time."""
    told: list[tuple[str, float]] = []
    calls: list[IDelayedCall] = []
    for what, which, seconds in steps:
        call = calls[which % len(calls)] if calls else None
        if what == "later":
            name = str(len(calls))
            calls.append(clock.callLater(seconds, lambda name=name: told.append((name, clock.seconds()))))
        elif what == "advance":
            _pass_time(clock, seconds)
        elif call is not None and call.active():
            if what == "cancel":
                call.cancel()
            elif what == "delay":
                call.delay(seconds)
            else:
                call.reset(seconds)
    _pass_time(clock, 500)
    return told


def _pass_time(clock: Clock, seconds: int) -> None:
    """In steps of a second: Twisted's clock jumps, and its calls see the time behind the jump."""
    clock.advance(0)
    for _ in range(seconds):
        clock.advance(1)


class ClockTests(SynchronousTestCase):
    def test_equal_times_keep_their_order(self) -> None:
        """Calls for the same instant are made in the order in which they were asked for."""
        clock = SimulatedClock(100.0)
        told: list[int] = []
        for number in range(50):
            clock.callLater(5, told.append, number)
        clock.advance(5)
        self.assertEqual(list(range(50)), told)

    def test_a_call_sees_its_own_time(self) -> None:
        """However far the clock is advanced, each call is made at its time, also one that another has made."""
        clock = SimulatedClock(100.0)
        told: list[float] = []

        def again() -> None:
            told.append(clock.seconds())
            if len(told) < 4:
                clock.callLater(2, again)

        clock.callLater(1, again)
        clock.advance(60)
        self.assertEqual([101.0, 103.0, 105.0, 107.0], told)
        self.assertEqual(160.0, clock.seconds())

    def test_stopped(self) -> None:
        """A clock that is stopped makes no call more, and its time stays that of the last one."""
        clock = SimulatedClock(0.0)
        told: list[int] = []

        def stop() -> None:
            clock.stopped = True

        clock.callLater(1, stop)
        clock.callLater(2, told.append, 2)
        clock.run_until(10)
        self.assertEqual(([], 1.0), (told, clock.seconds()))

    def test_a_cancelled_call_is_not_made(self) -> None:
        """Nor can it be cancelled twice, and it is no pending call any more."""
        clock = SimulatedClock(0.0)
        told: list[int] = []
        call = clock.callLater(1, told.append, 1)
        other = clock.callLater(2, told.append, 2)
        call.cancel()
        self.assertRaises(AlreadyCancelled, call.cancel)
        self.assertEqual([other], list(clock.getDelayedCalls()))
        clock.advance(3)
        self.assertEqual([2], told)

    # On a busy machine it is slow, and that is no fault.
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["later", "later", "advance", "cancel", "delay", "reset"]),
                st.integers(0, 20),
                st.integers(0, 9),
            ),
            max_size=30,
        )
    )
    def test_as_twisted_has_it(self, steps: list[Step]) -> None:
        """The same calls are made at the same times as by Twisted's own `Clock`, which sorts them all each time."""
        theirs = Clock()
        theirs.rightNow = 0.0
        self.assertEqual(sorted(story(theirs, steps)), sorted(story(SimulatedClock(0.0), steps)))

    def test_many_calls(self) -> None:
        """A hundred thousand calls in any order come out in order of their time."""
        clock, rng = SimulatedClock(0.0), random.Random(1)
        told: list[float] = []
        for _ in range(100_000):
            at = rng.random() * 1000
            clock.callLater(at, told.append, at)
        clock.advance(1000)
        self.assertEqual(100_000, len(told))
        self.assertEqual(sorted(told), told)

"""Places that idle connections keep."""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.policy.counts import SITES, LocalPlaces
from mta.policy.kept_places import KeptPlaces
from mta.policy.shared_counts import SharedCounts


class IdleConnections:
    """Idle connections of one worker; those that are released are closed when the test says so."""

    def __init__(self, places: KeptPlaces) -> None:
        self.places = places
        self.count = 0
        self.released = 0
        places.kept_by(self)

    def left_open(self, site: str) -> int:
        return self.count if site == "a" else 0

    def release(self, site: str) -> None:
        del site
        self.released += 1

    def close(self) -> None:
        self.count = 0
        self.places.settle("a")


class KeptPlacesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.descriptor = SharedCounts.make(2, 100)
        self.addCleanup(os.close, self.descriptor)
        shared = [SharedCounts(self.descriptor, column, self.clock.seconds).places(SITES) for column in range(2)]
        self.one, self.two = (KeptPlaces(places, self.clock.callLater) for places in shared)
        self.idle = IdleConnections(self.one)
        self.taken = lambda: shared[0].taken("a")

    def test_attempts_without_connections_to_keep(self) -> None:
        """Where nothing stays open an attempt's place is free with its end."""
        self.assertTrue(self.two.take("a", 1))
        self.assertFalse(self.one.take("a", 1))
        self.two.leave("a")
        self.assertEqual(0, self.taken())
        self.assertTrue(self.one.take("a", 1))

    def test_idle_connection_keeps_its_place(self) -> None:
        """A connection that stays open is seen by the site: its place is free for its own worker alone."""
        self.assertTrue(self.one.take("a", 1))
        self.idle.count = 1
        self.one.leave("a")
        self.assertEqual(1, self.taken())
        self.assertFalse(self.two.take("a", 1))
        self.assertTrue(self.one.take("a", 1))
        self.assertEqual(1, self.taken())
        self.idle.count = 0
        self.one.leave("a")
        self.assertEqual(0, self.taken())

    def test_closed_connection_frees_its_place(self) -> None:
        """A connection that has been idle for too long gives its place back when it is closed."""
        self.assertTrue(self.one.take("a", 1))
        self.idle.count = 1
        self.one.leave("a")
        self.idle.close()
        self.assertEqual(0, self.taken())
        self.assertTrue(self.two.take("a", 1))

    def test_released_for_who_waits(self) -> None:
        """Idle connections are closed as soon as another worker waits for the site, and not before."""
        self.assertTrue(self.one.take("a", 1))
        self.idle.count = 1
        self.one.leave("a")
        self.clock.pump([0.05] * 10)
        self.assertEqual(0, self.idle.released)
        self.assertFalse(self.two.take("a", 1))
        self.two.wait("a")
        self.clock.advance(0.06)
        self.assertEqual(1, self.idle.released)
        self.assertFalse(self.two.take("a", 1), "it is not closed yet")
        self.idle.close()
        self.assertTrue(self.two.take("a", 1))
        self.clock.pump([0.05] * 10)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_alone(self) -> None:
        """Without other workers nobody is looked for."""
        places = KeptPlaces(LocalPlaces(), self.clock.callLater)
        idle = IdleConnections(places)
        self.assertTrue(places.take("a", 1))
        idle.count = 1
        places.leave("a")
        self.assertTrue(places.take("a", 1))
        self.assertEqual([], self.clock.getDelayedCalls())

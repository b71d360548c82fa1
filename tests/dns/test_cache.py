"""The cache: expiry and bound."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.dns.cache import Cache


class CacheTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.cache: Cache[str, int] = Cache(self.clock, 3)

    def test_expiry(self) -> None:
        """A value holds for its TTL and not a moment longer."""
        self.cache.put("a", 1, 10)
        self.clock.advance(9.5)
        self.assertEqual((self.cache.get("a"), self.cache.with_life("a")), (1, (1, 0.5)))
        self.clock.advance(0.5)
        self.assertIsNone(self.cache.get("a"))
        self.assertEqual(len(self.cache), 0)

    def test_nothing_to_hold(self) -> None:
        """TTL zero is not remembered (RFC 1035 3.2.1), and forgets what was; a cache of size zero holds nothing."""
        self.cache.put("a", 1, 10)
        self.cache.put("a", 2, 0)
        self.assertIsNone(self.cache.get("a"))
        none: Cache[str, int] = Cache(self.clock, 0)
        none.put("a", 1, 10)
        self.assertEqual((none.get("a"), len(none)), (None, 0))

    def test_bound(self) -> None:
        """Past the bound, the value that was not used for longest goes."""
        for number, key in enumerate("abc"):
            self.cache.put(key, number, 10)
        self.cache.get("a")
        self.cache.put("d", 3, 10)
        self.assertEqual([self.cache.get(key) for key in "abcd"], [0, None, 2, 3])
        self.cache.put("d", 4, 10)
        self.assertEqual(len(self.cache), 3)

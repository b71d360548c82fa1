"""Which servers are spoken to in clear for a day."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.clear_text import MAX_SERVERS, SECONDS, ClearText

NOW = 1_700_000_000.0


class ClearTextTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clear = ClearText()
        self.clear.failed("192.0.2.1", 25, "garbage", NOW)

    def test_a_day(self) -> None:
        """A failure counts for a day, and for that address and port alone; after it TLS is tried again."""
        for address, port, later, why in (
            ("192.0.2.1", 25, 0.0, "garbage"),
            ("192.0.2.1", 25, SECONDS - 1, "garbage"),
            ("192.0.2.1", 25, SECONDS, ""),
            ("192.0.2.1", 587, 0.0, ""),
            ("192.0.2.2", 25, 0.0, ""),
        ):
            self.assertEqual(why, self.clear.why(address, port, NOW + later), (address, port, later))

    def test_a_clock_set_back(self) -> None:
        """A clock that was set back does not lengthen the day."""
        self.assertEqual("", self.clear.why("192.0.2.1", 25, NOW - 3600))

    def test_bounded(self) -> None:
        """The oldest failure is forgotten where there are too many; one that is met again is young."""
        self.clear.failed("192.0.2.2", 25, "closed", NOW)
        self.clear.failed("192.0.2.1", 25, "again", NOW)
        for number in range(MAX_SERVERS - 1):
            self.clear.failed("192.0.2.9", number, "many", NOW)
        self.assertEqual("again", self.clear.why("192.0.2.1", 25, NOW))
        self.assertEqual("", self.clear.why("192.0.2.2", 25, NOW))

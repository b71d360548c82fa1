"""Durations and sizes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.config.units import parse_duration, parse_size

DURATIONS = {
    "0s": 0.0,
    "90s": 90.0,
    "5m": 300.0,
    "1h30m": 5400.0,
    "5d": 432_000.0,
    "1w": 604_800.0,
    "0.5s": 0.5,
    "200ms": 0.2,
    "0.1s": 0.1,
    "1w1d1h1m1s1ms": 694_861.001,
    "3650d": 315_360_000.0,
}
BAD_DURATIONS = (
    "",
    "5",
    "s",
    "5 m",
    "m5",
    "-5m",
    "+5m",
    "5M",
    "30m1h",
    "1h1h",
    "5min",
    "1e3s",
    "1.s",
    ".5s",
    "٣s",
    "5m\n",
)
SIZES = {
    0: 0,
    50_000: 50_000,
    "50000": 50_000,
    "512B": 512,
    "64KiB": 65_536,
    "50MiB": 52_428_800,
    "50 MiB": 52_428_800,
    "10MB": 10_000_000,
    "10mb": 10_000_000,
    "2GiB": 2_147_483_648,
}
BAD_SIZES = (
    "",
    "MiB",
    "-1",
    "1.5MiB",
    "10 apples",
    "10K",
    "0x10",
    "1e6",
    "٣",
    "5MiB\n",
    -1,
    1 << 51,
    "2000000GB",
    True,
    1.5,
    None,
    [1],
)


class UnitTests(SynchronousTestCase):
    def test_durations(self) -> None:
        """A duration is amounts with units, longest first, in seconds."""
        for text, seconds in DURATIONS.items():
            self.assertEqual(seconds, parse_duration(text), text)

    def test_bad_durations(self) -> None:
        """What is no duration is refused by name."""
        for text in BAD_DURATIONS:
            with self.assertRaises(ValueError) as caught:
                parse_duration(text)
            self.assertIn(f'"{text}" is not a duration', str(caught.exception))

    def test_a_bare_number_is_no_duration(self) -> None:
        """5 may mean seconds or minutes: it is refused rather than guessed at."""
        for value in (5, 5.0, True, None, ["5m"]):
            with self.assertRaises(ValueError) as caught:
                parse_duration(value)
            self.assertIn("a duration in quotes with its unit", str(caught.exception))

    def test_ten_years_are_enough(self) -> None:
        """A longer time is a mistake, and would overflow a date."""
        for text in ("3651d", "999999999d", "999999999w", "87600h1s"):
            with self.assertRaises(ValueError) as caught:
                parse_duration(text)
            self.assertIn("longer than ten years", str(caught.exception))

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.integers(0, 300), st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000))
    def test_units_add_up(self, days: int, hours: int, minutes: int, seconds: int) -> None:
        """The parts of a duration add up."""
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        self.assertEqual(total, parse_duration(f"{days}d{hours}h{minutes}m{seconds}s"))
        self.assertEqual(total, parse_duration(f"{total}s"))

    def test_sizes(self) -> None:
        """A size is a number of octets, or text with a binary or decimal unit."""
        for value, octets in SIZES.items():
            self.assertEqual(octets, parse_size(value), value)

    def test_bad_sizes(self) -> None:
        """What is no size is refused."""
        for value in BAD_SIZES:
            self.assertRaises(ValueError, parse_size, value)

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(st.text(alphabet="0123456789.wdhmsKMGiB -٣", max_size=20) | st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is a value that is not negative, or a ValueError."""
        for parse in (parse_duration, parse_size):
            try:
                self.assertGreaterEqual(parse(text), 0)
            except ValueError as error:
                self.assertRegex(str(error), "duration|size|ten years")

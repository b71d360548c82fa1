"""How tables, times and sizes read."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from mta.cli import columns


class ColumnTests(SynchronousTestCase):
    def written(self, *rows: tuple[str, ...]) -> str:
        out = io.StringIO()
        self.assertEqual(len(rows), columns.write(("NAME", ">SIZE"), rows, out))
        return out.getvalue()

    def test_alignment(self) -> None:
        """Columns are as wide as their widest cell; numbers stand at the right; no line ends in blanks."""
        self.assertEqual("NAME     SIZE\na           1\nlonger  12345\n", self.written(("a", "1"), ("longer", "12345")))

    def test_nothing(self) -> None:
        """Without rows there are no headings either."""
        self.assertEqual("", self.written())

    def test_rows_after_the_measured_ones(self) -> None:
        """A million rows stream through; those that come late may be wider, and none is lost."""
        out = io.StringIO()
        number = columns.write(("N",), ((str(n),) for n in range(12_345)), out)
        self.assertEqual((12_345, 12_346), (number, out.getvalue().count("\n")))

    def test_text_from_strangers(self) -> None:
        """Control characters, escape sequences and line ends are spelled out: a reply can't repaint the terminal."""
        for text, expected in (
            ("plain ü", "plain ü"),
            ("\x1b[2J", "\\x1b[2J"),
            ("a\nb\r\t", "a\\nb\\r\\t"),
            ("\x9b31m", "\\x9b31m"),
            ("\u202egnp.exe", "\\u202egnp.exe"),
        ):
            self.assertEqual(expected, columns.printable(text))

    def test_sizes(self) -> None:
        """Octets in the largest unit that leaves a digit."""
        for octets, expected in ((0, "0"), (1023, "1023"), (1024, "1.0K"), (52_428_800, "50.0M"), (3 << 30, "3.0G")):
            self.assertEqual(expected, columns.size(octets))

    def test_time_outside_a_terminal(self) -> None:
        """In a pipe a time is UTC, as ISO 8601."""
        self.assertEqual("2026-11-23T04:30:11Z", columns.time(1_795_408_211.9, io.StringIO()))

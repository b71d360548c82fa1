"""The regular expressions of the program do the same on every Python that it supports."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

SOURCES = Path(__file__).parent.parent / "mta"
# A group that is repeated without giving back: "(?:...)*+".
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[\d,]+\})\+")


class PatternTests(SynchronousTestCase):
    """Python below 3.11.5 (Debian 12 has 3.11.2) matches possessive groups wrongly (CPython issue 106052)."""

    def test_no_possessive_groups(self) -> None:
        """No group is repeated possessively: an atomic group, ``(?>(?:...)*)``, says the same and works."""
        found = [
            f"{path.relative_to(SOURCES)}:{number}: {line.strip()}"
            for path in SOURCES.rglob("*.py")
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if POSSESSIVE_GROUP.search(line)
        ]
        self.assertEqual([], found)

    def test_atomic_groups(self) -> None:
        """An atomic group takes all that a possessive one should."""
        folded = b"\na: 1\n 2\n 3\nb: 4"
        self.assertEqual(b" 1\n 2\n 3", re.findall(rb"\na:([^\n]*+(?>(?:\n[ \t][^\n]*+)*))", folded)[0])
        self.assertIsNone(re.match(rb'(?>(?:[^"\\]|\\.)*)[^"]', rb"ab\c"))

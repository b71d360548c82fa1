"""docs/rfc.md: every clause of RFC 5321 that it speaks of is there, and every test that it names exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "rfc.md"

# How many clauses RFC 5321 has below each of these, by its table of contents and the headings of 4.1.1.
CLAUSES = {"3": 9, "3.5": 4, "3.6": 3, "3.7": 5, "3.9": 2, "4": 5, "4.1": 5, "4.1.1": 11, "4.2": 5, "4.3": 2, "4.5": 5}
CLAUSES |= {"4.5.3": 2, "4.5.3.1": 10, "4.5.3.2": 7, "4.5.4": 2}
# These only hold others together.
HEADINGS = {"3.5", "3.6", "4.1", "4.3", "4.5"}


def rows() -> list[list[str]]:
    """The cells of each line of a table: clause or RFC, what, state, tests."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [line.strip("|").split("|") for line in lines if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in row] for row in cells]


def exists(name: str) -> bool:
    """Whether there is such a test: "package.module[.Class[.method]]", or a dialogue, where "*" may stand for any."""
    if name.endswith(".txt"):
        return any(HERE.glob(name))
    words = name.split(".")
    found: object = importlib.import_module(".".join(("tests", *words[:2])))
    for word in words[2:]:
        found = getattr(found, word, None)
    return found is not None


class PageTests(SynchronousTestCase):
    def test_clauses(self) -> None:
        """Each clause of RFC 5321 3 and 4 has a line, down to where it is a rule of its own."""
        clauses = {f"{above}.{number}" for above, last in CLAUSES.items() for number in range(1, last + 1)}
        self.assertEqual(set(), clauses - HEADINGS - {row[0] for row in rows()})

    def test_shape(self) -> None:
        """Each line has four cells, and a state; what holds is shown by something, what does not by nothing."""
        for row in rows():
            self.assertEqual(4, len(row), row)
            state = re.match(r"yes|partial: |no", row[2])
            assert state is not None, row
            if row[2] == "no" or row[2].startswith("no:"):
                self.assertEqual("", row[3], row)
            else:
                self.assertIn("`", row[3], row)

    def test_tests(self) -> None:
        """Every test that is named exists."""
        named = [name for row in rows() for name in re.findall(r"`([^`]+)`", row[3])]
        self.assertGreater(len(named), 150)
        self.assertEqual([], [name for name in named if not exists(name)])

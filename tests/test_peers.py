"""docs/peers.md: it is that of the tests there are, and the tests that it names exist."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.real_peers.page import BAD_INPUT, render
from tests.test_rfc import HERE, exists


class PageTests(SynchronousTestCase):
    def test_current(self) -> None:
        """The committed page is what `make docs` renders."""
        self.assertEqual(render(), (HERE.parent / "docs" / "peers.md").read_text(encoding="utf-8"))

    def test_tests(self) -> None:
        """Every test that is named for bad input exists."""
        named = [test for *_words, tests in BAD_INPUT for test in tests]
        self.assertEqual([], [name for name in named if not exists(name)])

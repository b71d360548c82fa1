"""docs/simulate.md is what the program does now."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from mta.sim import page
from tests.sim.material import ROOT

# Those whose results take a second each.
QUICK = ("dropping", "greylisting", "resolver")
COMMITTED = ROOT / "docs" / "simulate.md"


def results(text: str) -> dict[str, str]:
    """The results that the page shows, by scenario."""
    return dict(re.findall(r"`mta simulate etc/scenarios/([a-z-]+)\.toml`:\n\n```\n(.*?)```\n", text, re.DOTALL))


class PageTests(SynchronousTestCase):
    def test_text_and_keys_are_current(self) -> None:
        """The text, the stories of the scenarios and the reference of the keys are what `make docs` writes."""
        text = COMMITTED.read_text("utf-8")
        self.assertEqual(page.page(ROOT, results(text)), text)

    def test_results_are_current(self) -> None:
        """The results of the quick scenarios are what `mta simulate` prints today."""
        shown = results(COMMITTED.read_text("utf-8"))
        for path in page.scenarios(ROOT):
            if path.stem in QUICK:
                self.assertEqual(page.result(ROOT, path), shown[path.stem], f"{path.stem}: type make docs")

    def test_the_stories_hold(self) -> None:
        """What the scenarios promise is in their results: nothing bounces for our faults, duplicates are explained."""
        shown = results(COMMITTED.read_text("utf-8"))
        self.assertEqual({path.stem for path in page.scenarios(ROOT)}, set(shown))
        for name, result in shown.items():
            self.assertRegex(result, r"promises broken +0  all invariants hold", name)
            self.assertRegex(result, rf"bounced +{20 if name == 'resolver' else 0}\b", name)
            self.assertNotIn("unexplained", result)
        self.assertRegex(shown["dropping"], r"duplicates +[1-9][0-9]* ")
        self.assertRegex(shown["disk-full"], r"duplicates +[1-9] +[1-9]: it was in doubt at a crash")
        self.assertRegex(shown["disk-full"], r"put off or refused +[0-9,]+  times a client was told 452")
        self.assertRegex(shown["outage"], r"expired +0\b")

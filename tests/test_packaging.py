"""What an installation relies on: the layout of the packages, and constraints that cover the dependencies."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
SUMMARY = ROOT / ".ci" / "summary.py"


def normal(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


class PackagingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.setup = configparser.ConfigParser()
        self.setup.read(ROOT / "setup.cfg")

    def test_twisted_packages_stay_namespaces(self) -> None:
        """An `__init__.py` in twisted/ or twisted/plugins/ would overwrite Twisted's own."""
        self.assertEqual([], list((ROOT / "twisted").rglob("__init__.py")))

    def test_constraints_pin_every_dependency(self) -> None:
        """Each declared dependency has an exact version in constraints.txt, the project itself has none."""
        lines = (ROOT / "constraints.txt").read_text().splitlines()
        pins = {normal(line.split("==")[0]) for line in lines if line and not line.startswith("#")}
        declared = self.setup["options"]["install_requires"].split("\n")
        for extra in self.setup["options.extras_require"].values():
            declared += extra.split("\n")
        names = {normal(re.split(r"[\[<>=~!]", line)[0]) for line in declared if line}
        self.assertEqual(set(), names - pins)
        self.assertNotIn("mta", pins)
        self.assertEqual([], [line for line in lines if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)])

    def test_summary_of_trial(self) -> None:
        """The last line of CI counts what trial counted, and is a failure where trial gave no result."""
        for log, line, code in (
            ("Ran 3 tests in 0.1s\n\nPASSED (successes=3)\n", "3 passed, 0 failed, 0 skipped", 0),
            ("PASSED (skips=2, successes=310)\n", "310 passed, 0 failed, 2 skipped", 0),
            ("FAILED (skips=1, failures=1, errors=2, successes=5)\n", "5 passed, 3 failed, 1 skipped", 1),
            ("PASSED (expectedFailures=1, successes=4)\n", "5 passed, 0 failed, 0 skipped", 0),
            ("PASSED\n", "0 passed, 0 failed, 0 skipped", 1),
            ("make: *** Error 2\n", "0 passed, 1 failed, 0 skipped", 1),
            ("", "0 passed, 1 failed, 0 skipped", 1),
        ):
            path = Path(self.mktemp())
            path.write_text(log)
            ran = subprocess.run([sys.executable, SUMMARY, path], capture_output=True, text=True, check=False)
            self.assertEqual((f"{line}\n", code), (ran.stdout, ran.returncode), log)

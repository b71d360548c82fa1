"""The chart of the queue's depth."""

from __future__ import annotations

import tempfile
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from mta.sim import chart
from mta.sim.ledger import Happening
from mta.sim.simulation import Simulation
from mta.sim.totals import Totals, totals
from tests.sim.material import configuration, scenario, without_matplotlib

TEXT = "duration = '1h'\n[[load]]\nmessages = 5\nto = '5m'\nrecipients = ['u{n}@a.test']\n"


class ChartTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def totals(self) -> Totals:
        with Simulation(configuration(), scenario(TEXT)) as simulation:
            return totals(simulation.run())

    def test_svg(self) -> None:
        """An SVG is well-formed, names what happened in text, and is the same octets each time."""
        found = self.totals()
        for name in ("a.svg", "b.svg"):
            chart.draw(self.folder / name, "A title", found, [Happening(90.0, "the disk is full")])
        first = (self.folder / "a.svg").read_bytes()
        self.assertEqual(first, (self.folder / "b.svg").read_bytes())
        texts = "".join(ElementTree.fromstring(first).itertext())
        for words in ("A title", "+0d00:01:30", "the disk is full", "recipients in the queue"):
            self.assertIn(words, texts)

    def test_png(self) -> None:
        """A PNG is one, and is the same octets each time."""
        found = self.totals()
        for name in ("a.png", "b.PNG"):
            chart.draw(self.folder / name, "A title", found, [])
        first = (self.folder / "a.png").read_bytes()
        self.assertTrue(first.startswith(b"\x89PNG\r\n"))
        self.assertEqual(first, (self.folder / "b.PNG").read_bytes())

    def test_no_matplotlib(self) -> None:
        """Where it is missing the error says how to install it."""
        without_matplotlib(self)
        error = self.assertRaises(chart.ChartError, chart.available)
        self.assertIn("pip install 'mta[plot]'", str(error))

    def test_no_such_directory(self) -> None:
        """A file that can't be written is told with its name."""
        error = self.assertRaises(chart.ChartError, chart.draw, self.folder / "x" / "a.svg", "", self.totals(), [])
        self.assertIn("a.svg: cannot write the chart: No such file", str(error))

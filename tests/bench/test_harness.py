"""A benchmark with few messages, and what is made of its figures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from bench import figures, page, plot, spools, usage
from bench.figures import Figure, Results
from bench.servers import OURS, POSTFIX
from mta.entry import State
from mta.selection import Selection
from mta.spool import reading

ROOT = Path(__file__).parents[2]


def run(case: SynchronousTestCase, *words: str) -> Results:
    """Run the benchmark on ours alone, with a message where there were 2,000; what it wrote."""
    # The paths of sockets are short, and those of trial's folders are not.
    folder = Path(tempfile.mkdtemp())
    case.addCleanup(shutil.rmtree, folder)
    out = folder / "results.json"
    command = [sys.executable, "-m", "bench", "--only", "mta", "--share", "0.0005", "--rounds", "1"]
    command += ["--out", str(out), "--top", str(folder), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    case.assertEqual(0, done.returncode, done.stdout + done.stderr)
    case.assertEqual(["results.json"], os.listdir(folder))
    return figures.read(out)


class RunTests(SynchronousTestCase):
    def test_rows_without_postfix(self) -> None:
        """What needs no program of others is measured where there is none, and nothing is left behind."""
        results = run(self, "--rows", "fanout,micro")
        self.assertEqual({"fanout", "micro"}, {figure.row for figure in results.figures})
        for figure in results.figures:
            self.assertGreater(figure.value(OURS) or 0, 0, figure.title)
        self.assertIn("| one message to 50 recipients at 50 sites | recipients/s |", page.render(results))

    def test_rows_with_test_programs(self) -> None:
        """Beside smtp-sink and smtp-source, every figure of ours has a value."""
        if shutil.which("smtp-sink", path=f"{os.environ['PATH']}:/usr/sbin") is None:
            raise SkipTest("smtp-sink is not installed (Debian: apt-get install postfix)")
        results = run(self, "--rows", "latency,queue")
        self.assertEqual({"latency", "queue"}, {figure.row for figure in results.figures})
        for figure in results.figures:
            self.assertIsNotNone(figure.value(OURS), figure.title)

    def test_tls(self) -> None:
        """Mail over STARTTLS and in clear arrives, and handshakes are counted."""
        for name in ("smtp-sink", "openssl"):
            if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None:
                raise SkipTest(f"{name} is not installed")
        results = run(self, "--rows", "tls")
        self.assertEqual(7, len(results.figures))
        for figure in results.figures:
            self.assertGreater(figure.value(OURS) or 0, 0, (figure.title, figure.reasons))


class FigureTests(SynchronousTestCase):
    def test_ratio(self) -> None:
        """The ratio of the medians is above 1 where ours is ahead, whichever way the unit goes."""
        samples = {OURS: [300.0, 200.0, 1.0], POSTFIX: [100.0]}
        self.assertEqual(2.0, Figure("relay", "", "messages/s", True, samples).ratio())
        self.assertEqual(0.5, Figure("costs", "", "ms", False, samples).ratio())
        self.assertIsNone(Figure("relay", "", "messages/s", True, {OURS: [1.0]}).ratio())

    def test_missing_column_has_its_reason(self) -> None:
        """The page leaves a column without values out, and says why."""
        figure = Figure("relay", "4 KB", "messages/s", True, {OURS: [1234.0]}, {POSTFIX: "it is not installed"})
        said = page.render(Results({"kernel": "Linux"}, False, (figure,)))
        self.assertIn("| 4 KB | messages/s | 1,234 |\n", said)
        self.assertIn("Postfix: it is not installed.", said)

    def test_picture(self) -> None:
        """Ratios and the curve of the queue are drawn."""
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise SkipTest("matplotlib is not installed (the extra plot)") from None
        picture = Path(self.mktemp()).with_suffix(".svg")
        samples = {OURS: [200.0], POSTFIX: [100.0]}
        lines = [Figure("relay", "4 KB", "messages/s", True, samples), Figure("queue", "", "messages/s", True, samples)]
        lines += [Figure("queue", "", "messages/s", True, {OURS: [100.0]}, x=length) for length in (0, 1000)]
        plot.draw(Results({"kernel": "Linux"}, False, tuple(lines)), picture)
        self.assertIn("4 KB", picture.read_text())

    def test_calls_of_strace(self) -> None:
        """The calls of each kind are added up, with and without a count of errors."""
        summary = (
            "% time     seconds  usecs/call     calls    errors syscall\n"
            " 60.00    0.017857         279        64           fdatasync\n"
            " 40.00    0.000078          78         7         2 fsync\n"
            "100.00    0.017935         263        71         2 total\n"
        )
        self.assertEqual(71, usage.counted_calls(summary))


class SpoolTests(SynchronousTestCase):
    def test_made_spool_is_one_of_production(self) -> None:
        """The rows that are made in bulk are read as deferred recipients with their trace."""
        path = spools.make(Path(self.mktemp()), 50, due_in=60.0, spread=600.0)
        with reading.opened(path) as database:
            self.assertEqual(50, reading.count(database, Selection())[State.QUEUED])
            row = next(reading.list_queue(database, Selection(domain="site7.test")))
            self.assertEqual(1, row.attempts)
            self.assertGreater(row.due or 0, time.time())
            kinds = [event.kind.value for event in reading.trace(database, row.message)]
        self.assertEqual(["accepted", "routed", "deferred"], kinds)

"""`mta simulate` as an operator meets it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

from mta.spool import schema
from tests.cli.test_commands import ROOT, CommandCase
from tests.sim.material import without_matplotlib

SCENARIO = """\
about = "A little mail."
duration = "12h"
[[site]]
name = "partner"
domains = ["partner.test"]
[[site.answer]]
at = "rcpt"
reply = "450 4.2.0 perhaps"
share = 0.3
[[load]]
messages = 20
to = "1m"
recipients = ["u{n}@partner.test"]
"""


class SimulateCase(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.config.write_text(self.config.read_text() + '[relay]\nnetworks = ["127.0.0.0/8"]\n')
        self.scenario = self.top / "s.toml"
        self.scenario.write_text(SCENARIO)

    def simulate(self, *arguments: str) -> str:
        ran = self.mta("simulate", *arguments)
        self.assertEqual((0, ""), (ran.returncode, ran.stderr))
        return ran.stdout.decode()


class ReportTests(SimulateCase):
    def test_tables(self) -> None:
        """A timeline, the totals and the sites are printed, and nothing of the operator's state is touched."""
        out = self.simulate(str(self.scenario))
        self.assertEqual(["Timeline", "Totals", "Sites"], [line for line in out.splitlines() if line.isalpha()])
        self.assertRegex(out, r"\naccepted +20  recipients of 20 messages\n")
        self.assertRegex(out, r"\npromises broken +0  all invariants hold\n")
        self.assertRegex(out, r"\npartner +20 ")
        self.assertEqual([], list(self.state.iterdir()))

    def test_json(self) -> None:
        """`--json` is one object; the same run gives the same text, another seed another one."""
        first = self.simulate("--json", str(self.scenario))
        told = json.loads(first)
        self.assertEqual((20, 20, []), (told["accepted"], told["delivered"], told["broken"]))
        self.assertEqual(first, self.simulate("--json", str(self.scenario)))
        self.assertNotEqual(first, self.simulate("--json", "--seed", "2", str(self.scenario)))

    def test_duration(self) -> None:
        """A shorter run ends earlier, with mail in the queue."""
        told = json.loads(self.simulate("--json", "--duration", "2m", str(self.scenario)))
        self.assertEqual(120.0, told["duration"])
        self.assertTrue(told["left"]["queued"] > 0)

    def test_plot(self) -> None:
        """The chart is a file beside the report."""
        picture = self.top / "queue.svg"
        self.simulate("--plot", str(picture), str(self.scenario))
        self.assertIn("A little mail.", picture.read_text())

    def test_broken_promises(self) -> None:
        """A run that breaks a promise ends with EX_SOFTWARE, and says which."""
        import mta.sim.invariants

        self.patch(mta.sim.invariants, "violations", lambda _result: ["4: a message is gone"])
        ran = self.mta("simulate", str(self.scenario))
        self.assertEqual(os.EX_SOFTWARE, ran.returncode)
        self.assertIn("4: a message is gone", ran.stdout.decode())


class ErrorTests(SimulateCase):
    def test_usage(self) -> None:
        """What is mistyped is EX_USAGE, before anything is run."""
        for arguments, words in (
            ([], "name a scenario, or use --from-queue"),
            ([str(self.scenario), "--plot", "queue.gif"], '"queue.gif" does not end in .svg or .png'),
            ([str(self.scenario), "--duration", "5"], '"5"'),
            ([str(self.scenario), "--duration", "0s"], "longer than 0s"),
            ([str(self.scenario), "--seed", "-1"], "seed"),
        ):
            self.assert_fails(os.EX_USAGE, words, self.mta("simulate", *arguments))

    def test_scenarios(self) -> None:
        """A scenario with mistakes is EX_DATAERR with all of them, a missing one EX_NOINPUT."""
        self.scenario.write_text(SCENARIO + "mesages = 1\n[[fault]]\nkind = 'crsh'\nfrom = '1m'\nto = '2m'\n")
        ran = self.mta("simulate", str(self.scenario))
        self.assert_fails(os.EX_DATAERR, f"mta: {self.scenario}:14: load 1: mesages: unknown key", ran)
        self.assert_fails(os.EX_DATAERR, f"mta: {self.scenario}:16: fault 1: kind: must be", ran)
        self.assert_fails(os.EX_NOINPUT, "cannot read the scenario", self.mta("simulate", str(self.top / "no.toml")))

    def test_configuration(self) -> None:
        """A configuration with mistakes is EX_CONFIG."""
        self.config.write_text("hostname = 5")
        self.assert_fails(os.EX_CONFIG, "hostname", self.mta("simulate", str(self.scenario)))

    def test_no_matplotlib(self) -> None:
        """A chart without matplotlib is EX_UNAVAILABLE before the run, and says how to install it."""
        without_matplotlib(self)
        ran = self.mta("simulate", "--plot", "queue.svg", str(self.scenario))
        self.assert_fails(os.EX_UNAVAILABLE, "pip install 'mta[plot]'", ran)

    def test_interrupted(self) -> None:
        """Ctrl-C ends a long run at once, without a traceback, a report, or a directory left behind."""
        self.scenario.write_text(SCENARIO.replace("12h", "3650d").replace("messages = 20", "messages = 500000"))
        temporary = self.top / "tmp"
        temporary.mkdir()
        program = (
            "import sys, tempfile, mta.sim.simulation as s; from mta.cli.main import main;"
            "s._memory = lambda: None; tempfile.tempdir = sys.argv.pop(1); main()"
        )
        command = [sys.executable, "-c", program, str(temporary), "simulate", "--config", str(self.config)]
        running = subprocess.Popen(
            [*command, str(self.scenario)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(running.stdout.close)  # type: ignore[union-attr]
        self.addCleanup(running.stderr.close)  # type: ignore[union-attr]
        deadline = time.monotonic() + 60
        while not list(temporary.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        self.assertEqual((130, "", ""), (running.returncode, out, err.strip()))
        self.assertEqual([], list(temporary.iterdir()))


class ForecastTests(SimulateCase):
    def test_from_queue(self) -> None:
        """The present queue is forecast, and its file has the same octets and the same neighbours as before."""
        self.fill()
        database = schema.connect(self.state / schema.FILE_NAME)
        database.execute("UPDATE messages SET due = 1795408300")
        database.execute("INSERT INTO chunks VALUES (77, 0, ?)", (b"Subject: x\r\n\r\nhello\r\n",))
        database.close()
        before = self._state()
        out = self.simulate("--from-queue")
        self.assertEqual(before, self._state())
        self.assertRegex(out, r"\nForecast from 20[0-9TZ:-]+\nSITE +BACKLOG +DRAINED .*\nx\.test +1 ")
        self.assertRegex(out, r"\nin the queue at the begin +1  recipients\n")
        told = json.loads(self.simulate("--from-queue", "--json", "--duration", "1h", str(self.scenario)))
        self.assertEqual((1, 20, None), (told["backlog"], told["accepted"], told["broken"]))

    def _state(self) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(self.state.iterdir())}

    def test_no_queue(self) -> None:
        """Without a spool there is nothing to forecast: EX_UNAVAILABLE, and no file comes into being."""
        self.assert_fails(os.EX_UNAVAILABLE, "spool.sqlite", self.mta("simulate", "--from-queue"))
        self.assertEqual([], list(self.state.iterdir()))


class ShippedTests(SimulateCase):
    def test_every_scenario_begins(self) -> None:
        """Each of them runs with the sample configuration, for a minute."""
        for path in sorted((ROOT / "etc" / "scenarios").glob("*.toml")):
            ran = self.mta(
                "--config", str(ROOT / "etc" / "mta.toml"), "simulate", "--duration", "1m", "--json", str(path)
            )
            self.assertEqual((0, ""), (ran.returncode, ran.stderr), path)

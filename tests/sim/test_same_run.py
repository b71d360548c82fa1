"""The same seed gives the same run, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.sim.material import ROOT

# Every kind of trouble at once: of sites, of the network, of the DNS and of our own.
TROUBLE = """
duration = "8h"
seed = 11
cuts = true
[names]
nxdomain = ["no.test"]
null_mx = ["null.test"]
failing = ["failing.test"]
[[site]]
name = "outage"
domains = ["outage.test"]
hosts = 2
[[site.spell]]
from = "5m"
to = "2h"
state = "down"
[[site.spell]]
from = "2h"
to = "3h"
state = "refusing"
[[site]]
name = "odd"
domains = ["odd.test", "odder.test"]
hosts = 3
drops_after_dot = 0.2
garbled = 0.2
breaks_at = "rcpt"
breaks_share = 0.1
[[site.answer]]
at = "rcpt"
reply = "450 4.2.0 not now"
share = 0.3
[[site.answer]]
at = "end-of-data"
reply = "554 5.6.0 no"
share = 0.1
[[site]]
name = "strict"
domains = ["strict.test"]
connections = 2
messages_per_minute = 4
greylist = "10m"
reply_delay = "500ms"
[[site]]
name = "stalling"
domains = ["stalling.test"]
stalls_at = "data"
[[load]]
to = "2h"
messages = 120
recipients_per_message = 5
size = "100"
size_to = "20KiB"
recipients = ["a{n}@outage.test", "b{n}@odd.test", "c{n}@strict.test", "d{n}@stalling.test", "e{n}@odder.test",
              "f{n}@no.test", "g{n}@null.test", "h{n}@failing.test", "i{n}@fine.test"]
[[fault]]
kind = "crash"
from = "10m"
to = "11m"
[[fault]]
kind = "crash"
from = "40m"
to = "41m"
at_step = 20
[[fault]]
kind = "disk-full"
from = "30m"
to = "50m"
[[fault]]
kind = "resolver"
from = "1h"
to = "70m"
"""
PROGRAM = """
import hashlib, sys
from mta.sim.simulation import Simulation
from tests.sim.material import configuration, scenario
text = sys.stdin.read()
config = configuration()
with Simulation(config, scenario(text, config)) as simulation:
    ledger = simulation.run().ledger
log = "".join(f"{event!r}\\n" for event in ledger.events)
seen = f"{ledger.arrivals!r} {ledger.promises!r} {ledger.happenings!r} {dict(ledger.clients_refused)!r}"
kinds = sorted({event.kind.value for event in ledger.events})
print(*kinds)
print(len(ledger.events), hashlib.sha256(log.encode()).hexdigest(), hashlib.sha256(seen.encode()).hexdigest())
"""


class SameRunTests(SynchronousTestCase):
    def run_in(self, hash_seed: str, text: str = TROUBLE) -> list[str]:
        """What a process of its own has to tell of a run."""
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM], input=text, capture_output=True, text=True, cwd=ROOT, env=environment
        )
        self.assertEqual(0, ran.returncode, ran.stderr)
        return ran.stdout.splitlines()

    def test_byte_for_byte(self) -> None:
        """Event log, arrivals and what clients were told are equal in two processes that hash differently."""
        first, second = self.run_in("1"), self.run_in("2")
        self.assertEqual(first, second)
        # The trouble was real.
        for kind in ("accepted", "bounced", "deferred", "delivered", "routed"):
            self.assertIn(kind, first[0].split())
        self.assertTrue(int(first[1].split()[0]) > 1500, first)

    def test_another_seed_is_another_run(self) -> None:
        """It is chance that the seed decides."""
        self.assertNotEqual(self.run_in("1"), self.run_in("1", TROUBLE.replace("seed = 11", "seed = 12")))

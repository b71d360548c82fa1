"""What a simulation must not touch."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.sim.harmless import harmless
from tests.sim.material import configuration

ROUTES = """
[[route]]
recipients = ["*@{name}.test"]
next_hop = "{hop}"
"""


class HarmlessTests(SynchronousTestCase):
    def test_next_hops(self) -> None:
        """No program is run, no web server asked, no mailbox of this host written to; all else is as it was."""
        hops = {
            "pipe:it": "discard:",
            "https://x.test/in": "discard:",
            "http://127.0.0.1/in": "discard:",
            "mbox:/var/mail/{user}": "discard:",
            "maildir:{user}": "maildir:{user}",
            "smtp://x.test:25": "smtp://x.test:25",
            "error:550 5.1.1 No": "error:550 5.1.1 No",
        }
        text = "".join(ROUTES.format(name=f"n{number}", hop=hop) for number, hop in enumerate(hops))
        more = (
            '[delivery]\n[delivery.capture]\nmaildir = "all"\n[[delivery.pipe]]\nname = "it"\ncommand = ["/bin/true"]\n'
        )
        config = harmless(configuration(text + more), Path("somewhere"))
        self.assertEqual(list(hops.values()), [str(route.next_hop) for route in config.routes])
        self.assertEqual((Path("somewhere"), ""), (config.state_dir, config.delivery.capture.maildir))
        self.assertEqual("mx.test", config.hostname)

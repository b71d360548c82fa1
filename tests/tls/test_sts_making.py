"""What the configuration's words make of MTA-STS."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.config.loading import load
from mta.dns.fake import FakeResolver
from mta.sts_policy import Mode, StsPolicy
from mta.tls.sts import StsPolicies
from mta.tls.sts_making import policies_of
from mta.tls.sts_store import Stored, StsStore
from tests.tls.test_sts import at_once

POLICY = StsPolicy(Mode.ENFORCE, ("mx.example.test",), 86_400, "7")


class MakingTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        self.notes: list[str] = []

    def made(self, more: str = "") -> StsPolicies | None:
        path = self.top / "mta.toml"
        listener = '[[listener]]\nname = "mx"\nendpoint = "tcp:25"\nrole = "mx"\n'
        path.write_text(f'hostname = "mx.test"\nstate_dir = "{self.top}"\n{listener}[sts]\n{more}\n')
        return policies_of(
            load(path, {}),
            reactor=Clock(),
            resolver=FakeResolver(),
            run_in_thread=at_once,
            note=lambda kind, fields: self.notes.append(f"{kind} {fields['reason']}"),
        )

    def test_stored(self) -> None:
        """By default policies are followed, from the folder `sts` of the state directory; damage is in the log."""
        StsStore(self.top / "sts", self.fail).write("example.test", Stored(POLICY, 0, 0, 0))
        policies = self.made()
        assert policies is not None
        self.assertEqual(POLICY, self.successResultOf(policies.policy("example.test")))
        (self.top / "sts" / "other.test.json").write_text("{")
        self.assertIsNone(self.successResultOf(policies.policy("other.test")))
        self.assertIn("sts-store", self.notes[0])
        self.assertIn("is damaged", self.notes[0])

    def test_off(self) -> None:
        """Where they are not followed there is nothing to ask."""
        self.assertIsNone(self.made("follow = false"))

    def test_bad_authorities(self) -> None:
        """A file of authorities that is gone is an error before anything begins."""
        self.assertRaises(OSError, self.made, 'ca_file = "/nowhere/ca.pem"')

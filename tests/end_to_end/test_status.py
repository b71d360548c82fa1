"""What `mta status` says of the real daemon, and what its log says of a certificate that ends."""

from __future__ import annotations

import json
import os
import time

from mta.tls.selfsigned import make
from tests.end_to_end.daemon import EndToEndCase, eventually

PAIR = '\n[[tls.certificates]]\ncertificate = "a.pem"\nkey = "a.key"\n'


class StatusTests(EndToEndCase):
    def write(self, days: int) -> None:
        (self.top / "state").mkdir(exist_ok=True)
        certificate, key = make(["mx.test"], days, time.time())
        (self.top / "state" / "a.pem").write_bytes(certificate)
        (self.top / "state" / "a.key").touch(0o600)
        (self.top / "state" / "a.key").write_bytes(key)

    def test_certificate_that_ends(self) -> None:
        """A certificate with 5 days left is a line at the start, one for all workers, and a figure of the status."""
        self.write(5)
        for workers in (1, 2):
            daemon = self.daemon(PAIR, workers)
            eventually(lambda: "certificate-warning" in daemon.output.read_text(), "the line of the log")  # noqa: B023
            told = daemon.output.read_text()
            self.assertEqual(workers, told.count(" - certificate-warning file="), told)  # of both starts
            self.assertIn("a.pem expires in 5 days", told)
            ran = daemon.mta("status")
            self.assertEqual(0, ran.returncode, ran.stderr)
            said = ran.stdout.decode()
            self.assertIn("a.pem: mx.test; ends in 5 days, 20", said)
            self.assertEqual(workers == 2, "worker 2" in said)
            (figure,) = json.loads(daemon.mta("status", "--json").stdout)["certificates"]
            self.assertAlmostEqual(5, figure["days_left"], delta=0.05)
            daemon.stop()

    def test_no_daemon(self) -> None:
        """Without a daemon it says so (EX_UNAVAILABLE); a pair that can't be used is told in the figure's place."""
        daemon = self.daemon(PAIR)
        self.assertIn("a.pem: cannot read", daemon.mta("status").stdout.decode())
        daemon.stop()
        ran = daemon.mta("status")
        self.assertEqual(os.EX_UNAVAILABLE, ran.returncode)
        self.assertIn(b"the daemon does not run", ran.stderr)

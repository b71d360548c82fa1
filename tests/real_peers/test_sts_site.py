"""Our own MTA-STS policy as curl fetches it. Needs Debian's curl and openssl."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

from mta.config.loading import load
from tests.end_to_end.daemon import PATIENCE, eventually, free_port
from tests.real_peers.crossing import TO_US, RealPeerCase, crossing
from tests.real_peers.peer import program
from tests.server.tls_client import authority, issue, write

SITE = """
[[tls.certificates]]
certificate = "{files.certificate}"
key = "{files.key}"

[sts.policy]
serve = "tcp:{port}:interface=127.0.0.1"
max_age = "1d"
"""


class CurlTests(RealPeerCase):
    def curl(self, port: int, *options: str, domain: str = "local.test", code: int = 0) -> str:
        host = f"mta-sts.{domain}"
        command = [
            program("curl", "curl"),
            "--silent",
            "--show-error",
            "--include",
            "--max-time",
            "10",
            "--noproxy",
            "*",
        ]
        command += ["--cacert", str(self.top / "authority.pem"), "--connect-to", f"{host}:443:127.0.0.1:{port}"]
        command += [*options, f"https://{host}/.well-known/mta-sts.txt"]
        ran = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, text=True)
        self.assertEqual(code, ran.returncode, ran.stdout + ran.stderr)
        return ran.stdout

    @crossing("curl", TO_US, "MTA-STS policy", "MTA-STS policy, 2 workers")
    def test_policy(self) -> None:
        """curl has the policy that `mta dns` prints, whatever the number of workers; SIGHUP changes it."""
        files = write(self.top / "tls", issue("mx.test", "mta-sts.local.test"))
        (self.top / "authority.pem").write_bytes(authority().cert_pem.bytes())
        for workers in (1, 2):
            port = free_port()
            daemon = self.daemon(SITE.format(files=files, port=port), workers)
            answer = self.curl(port)
            self.assertIn("HTTP/1.1 200 OK\n", answer)
            self.assertIn("Content-Type: text/plain", answer)
            policy = daemon.mta("dns", "local.test", "--policy").stdout.decode()
            self.assertEqual(load(daemon.config, os.environ).sts_policy.text(), policy)
            self.assertEqual(policy.replace("\r\n", "\n"), answer.partition("\n\n")[2])
            self.assertEqual("", self.curl(port, "--head").partition("\n\n")[2])
            self.assertIn(" 405 ", self.curl(port, "--data", "x=y"))
            self.assertIn(" 404 ", self.curl(port, "--insecure", domain="other.test"))
            self.curl(port, domain="other.test", code=60)  # the certificate is not for it
            self.curl(port, "--tls-max", "1.1", code=35)
            daemon.config.write_text(daemon.config.read_text().replace('max_age = "1d"', 'max_age = "2d"'))
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGHUP)
            eventually(lambda: "max_age: 172800" in self.curl(port), "the new policy")  # noqa: B023
            daemon.stop()
            with self.assertRaises(OSError):
                socket.create_connection(("127.0.0.1", port), 1)

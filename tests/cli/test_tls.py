"""`mta tls selfsigned`, and what `mta check` says of certificates."""

from __future__ import annotations

import os
import time

from mta.tls.pairs import Files, read
from mta.tls.selfsigned import make
from tests.cli.test_commands import CommandCase


class SelfSignedTests(CommandCase):
    def test_first_start(self) -> None:
        """It makes a pair for hostname, and prints what the configuration needs; `mta check` is content with that."""
        made = self.run_as("mta", "tls", "selfsigned")
        self.assertEqual((0, ""), (made.returncode, made.stderr))
        self.config.write_text(self.config.read_text() + made.stdout.decode())
        checked = self.run_as("mta", "check")
        self.assertEqual(0, checked.returncode, checked.stderr)
        self.assertIn("mx.test.pem: ECDSA for mx.test, expires in 3650 days", checked.stdout.decode())
        self.assertNotIn("warning", checked.stdout.decode())
        again = self.run_as("mta", "tls", "selfsigned")
        self.assertEqual(os.EX_CANTCREAT, again.returncode)
        self.assertIn("there already", again.stderr)

    def test_options(self) -> None:
        """Names and days are those asked for; what can't be a name is a usage error."""
        self.run_as("mta", "tls", "selfsigned", "--name", "a.test", "--name", "*.b.test", "--days", "10")
        pair = read(Files(self.state / "tls" / "a.test.pem", self.state / "tls" / "a.test.key"))
        self.assertEqual(("a.test", "*.b.test"), pair.names)
        self.assertLess(pair.expires, time.time() + 11 * 86_400)
        self.assertEqual(os.EX_USAGE, self.run_as("mta", "tls", "selfsigned", "--name", "ü.test").returncode)


class CheckTests(CommandCase):
    def configure(self, more: str = "") -> None:
        pair = '[[tls.certificates]]\ncertificate = "a.pem"\nkey = "a.key"\n'
        self.config.write_text(f"{self.config.read_text()}{pair}{more}")

    def write(self, days: int, since: int = 0) -> None:
        certificate, key = make(["a.test"], days + since, time.time() - since * 86_400)
        (self.state / "a.pem").write_bytes(certificate)
        (self.state / "a.key").touch(0o600)
        (self.state / "a.key").write_bytes(key)

    def test_bad_pairs(self) -> None:
        """A file that is missing or wrong is a problem with the number of the pair (EX_CONFIG)."""
        self.configure('[[tls.certificates]]\ncertificate = "b.pem"\nkey = "b.key"\n')
        self.write(90)
        checked = self.run_as("mta", "check")
        self.assertEqual(os.EX_CONFIG, checked.returncode)
        self.assertIn("mta.toml:11: tls.certificates 2: cannot read", checked.stderr)
        self.assertNotIn("tls.certificates 1", checked.stderr)

    def test_warnings(self) -> None:
        """An end that is near or past is told, and the configuration is good all the same."""
        self.configure()
        for days, since, words in ((10, 0, "expires in 10 days"), (-5, 90, "has expired 5 days ago")):
            self.write(days, since)
            checked = self.run_as("mta", "check")
            self.assertEqual(0, checked.returncode)
            self.assertIn(words, checked.stdout.decode())

    def test_names(self) -> None:
        """That no certificate is for hostname is a warning with the line; a wildcard above it is one for it."""
        self.configure()
        for names, told in ((["a.test"], True), (["b.test", "*.test"], False), (["MX.test"], False)):
            certificate, key = make(names, 90, time.time())
            (self.state / "a.pem").write_bytes(certificate)
            (self.state / "a.key").touch(0o600)
            (self.state / "a.key").write_bytes(key)
            said = self.run_as("mta", "check").stdout.decode()
            self.assertEqual(told, "mta.toml:8: tls.certificates 1: no certificate is for mx.test (hostname)" in said)

    def test_policy_hosts(self) -> None:
        """A policy that is served without a certificate for its host is a warning."""
        self.configure('[local]\ndomains = ["a.test", "b.test"]\n[sts.policy]\nserve = "tcp:443"\n')
        certificate, key = make(["mx.test", "mta-sts.a.test"], 90, time.time())
        (self.state / "a.pem").write_bytes(certificate)
        (self.state / "a.key").touch(0o600)
        (self.state / "a.key").write_bytes(key)
        said = self.run_as("mta", "check").stdout.decode()
        self.assertIn("mta.toml:14: sts.policy.serve: no certificate is for mta-sts.b.test: nobody takes", said)

    def test_dane_without_validation(self) -> None:
        """The level dane where no resolver is trusted is a warning at each place that demands it."""
        more = (
            "[[route]]\nrecipients = ['*@a.test']\nnext_hop = 'mx:'\ntls = 'dane'\n"
            "[client.tls]\ndefault = 'dane'\ndomains = { 'b.test' = 'dane', 'c.test' = 'may' }\n"
            "[dns]\nservers = ['RESOLVER']\n"
        )
        plain = self.config.read_text()
        self.config.write_text(plain + more.replace("RESOLVER", "192.0.2.1"))
        checked = self.run_as("mta", "check")
        self.assertEqual(0, checked.returncode, checked.stderr)
        lines = [line for line in checked.stdout.decode().splitlines() if "warning" in line]
        self.assertEqual(3, len(lines), lines)
        places = ("11: route 1: tls", "14: client.tls.domains.b.test", "13: client.tls.default")
        for line, place in zip(lines, places, strict=True):
            self.assertIn(f'mta.toml:{place}: "dane" has all this mail wait', line)
            self.assertIn("(192.0.2.1)", line)
        self.config.write_text(plain + more.replace("RESOLVER", "127.0.0.1"))
        self.assertNotIn("warning", self.run_as("mta", "check").stdout.decode())

    def test_submission_for_networks(self) -> None:
        """A listener of role submission without users is a warning where networks may send."""
        self.config.write_text(self.config.read_text().replace('role = "mx"', 'role = "submission"'))
        said = self.run_as("mta", "check").stdout.decode()
        self.assertIn("warning:", said)
        self.assertIn("mta.toml:7: listener 1: role: only relay.networks can send here", said)

    def test_ciphers(self) -> None:
        """Ciphers that OpenSSL does not know are a problem."""
        self.config.write_text(self.config.read_text() + '[tls]\nciphers = "NOSUCH"\n')
        self.configure()
        self.write(90)
        checked = self.run_as("mta", "check")
        self.assertEqual(os.EX_CONFIG, checked.returncode)
        self.assertIn("no cipher match", checked.stderr)

    def test_implicit_needs_a_certificate(self) -> None:
        """`tls = "implicit"` without certificates is an error of the line."""
        self.config.write_text(self.config.read_text() + 'tls = "implicit"\n')
        checked = self.run_as("mta", "check")
        self.assertEqual(os.EX_CONFIG, checked.returncode)
        self.assertIn('listener 1: tls: "implicit" needs a certificate', checked.stderr)

    def test_ssl_endpoint(self) -> None:
        """The endpoint that TLS is not written with is told, with what to write."""
        self.config.write_text(self.config.read_text().replace("tcp:2525", "ssl:2525"))
        self.assertIn('tls = "implicit" beside it', self.run_as("mta", "check").stderr)

"""`mta sts` and `mta dns`: the policies of other domains, and what to publish for one's own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.trial.unittest import SynchronousTestCase

from mta.cli.sts import rows
from mta.sts_policy import Mode, StsPolicy
from mta.tls.selfsigned import make
from mta.tls.sts_look import Look
from mta.tls.sts_store import Stored, StsStore
from mta.tls.sts_text import parse_policy, policy_id
from tests.cli.test_commands import ROOT, CommandCase
from tests.peers.dns_server import DNSServer, Fault, Zones

POLICY = StsPolicy(Mode.ENFORCE, ("mx.example.test",), 86_400, "7")
RECORD = ('"v=STSv1; id=7;"',)


class ShowTests(CommandCase):
    """`mta sts show`, in a process of its own, with a name server on loopback."""

    def show(self, zones: Zones, *arguments: str) -> subprocess.CompletedProcess[str]:
        with DNSServer(zones) as server:
            with self.config.open("a") as file:
                file.write(f'[dns]\nservers = ["127.0.0.1:{server.port}"]\ntimeout = "1s"\nattempts = 1\n')
            command = [sys.executable, "-c", "from mta.cli.main import main; main()", "sts", "show", *arguments]
            environment = {**os.environ, "MTA_CONFIG": str(self.config), "TZ": "UTC"}
            return subprocess.run(
                command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=30
            )

    def store(self, fetched: float) -> None:
        store = StsStore(self.state / "sts", self.fail)
        store.write("example.test", Stored(POLICY, fetched, fetched + 60, fetched))

    def test_nothing(self) -> None:
        """A domain without a policy is no trouble, and the reason stands there."""
        ran = self.show({("example.test", "A"): ["192.0.2.1"]}, "example.test")
        self.assertEqual((os.EX_OK, ""), (ran.returncode, ran.stderr))
        self.assertIn("_mta-sts.example.test does not exist", ran.stdout)
        self.assertIn("mta-sts.example.test has no address", ran.stdout)
        self.assertIn("no policy: mail goes as to any other domain", ran.stdout)

    def test_web_server_gone(self) -> None:
        """A stored policy whose web server is gone: what holds, until when, and what fails."""
        self.store(4_000_000_000)
        ran = self.show(
            {("_mta-sts.example.test", "TXT"): RECORD, ("mta-sts.example.test", "A"): Fault.SERVFAIL}, "example.test"
        )
        self.assertEqual(os.EX_UNAVAILABLE, ran.returncode, ran.stderr)
        for words in (
            "enforce: mx.example.test; max_age 86400; id 7",
            "2096-10-03T07:06:40Z",
            "id 7",
            "SERVFAIL",
            "sts-policy-fetch-error",
            "the stored policy holds until it ends",
        ):
            self.assertIn(words, ran.stdout)

    def test_json(self) -> None:
        """The same for programs; a domain in any case."""
        self.store(1_000_000_000)
        ran = self.show({("_mta-sts.example.test", "TXT"): RECORD}, "EXAMPLE.test.", "--json")
        said = json.loads(ran.stdout)
        self.assertEqual(("example.test", {"id": "7", "error": None}), (said["domain"], said["dns"]))
        self.assertEqual(1_000_086_400, said["stored"]["ends"])
        self.assertEqual(["mx.example.test"], said["stored"]["mx"])
        self.assertIsNone(said["https"]["policy"])
        self.assertIn("no address", said["https"]["error"])

    def test_no_domain(self) -> None:
        """What is no domain is said to be none."""
        ran = self.show({}, "no domain")
        self.assertIn("is no name of a domain", ran.stdout)

    def test_bad_authorities(self) -> None:
        """A file of authorities that is none is named, here and by `mta check`."""
        file = self.top / "ca.pem"
        file.write_text("nothing")
        with self.config.open("a") as config:
            config.write(f'[sts]\nca_file = "{file}"\n')
        self.assert_fails(os.EX_CONFIG, "has no certificate", self.mta("sts", "show", "example.test"))
        self.assert_fails(os.EX_CONFIG, f"sts.ca_file: {file} has no certificates", self.mta("check"))
        file.write_bytes(trustme.CA().cert_pem.bytes())
        self.assertEqual(os.EX_OK, self.mta("check").returncode)
        file.unlink()
        self.assert_fails(os.EX_CONFIG, f"sts.ca_file: cannot read {file}", self.mta("check"))


class ConclusionTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The last line says what follows from the others."""
        now = 1_000_000.0
        alive, over = Stored(POLICY, now - 60, now, now), Stored(POLICY, 0, 0, 0)
        other = StsPolicy(Mode.NONE, (), 86_400, "8")
        for stored, id_, fetched, words in (
            (None, "7", POLICY, "in order"),
            (over, "7", POLICY, "in order"),
            (alive, "7", POLICY, "the one of today"),
            (alive, "8", other, "will be replaced"),
            (alive, "", POLICY, "holds until it ends"),
            (alive, "7", None, "holds until it ends"),
            (over, "7", None, "no policy"),
            (None, "", POLICY, "without the record"),
            (None, "", None, "no policy"),
        ):
            found = Look("example.test", stored, id_, "" if id_ else "no record", fetched, "" if fetched else "404")
            told = dict(rows(found, now))
            self.assertIn(words, told["so"])
            self.assertEqual(stored is over, " (over)" in told.get("  ends", ""))


class DnsTests(CommandCase):
    """`mta dns`."""

    def configure(self, text: str) -> None:
        with self.config.open("a") as file:
            file.write(text)

    def lines(self, *arguments: str) -> list[str]:
        ran = self.mta("dns", *arguments)
        self.assertEqual((os.EX_OK, ""), (ran.returncode, ran.stderr))
        return ran.stdout.decode().splitlines()

    def test_records(self) -> None:
        """The records stand there, and a policy in testing mode with our own host."""
        self.configure('[local]\ndomains = ["example.test"]\n')
        lines = self.lines("Example.Test")
        self.assertIn("example.test. IN MX 10 mx.test.", lines)
        self.assertIn('_smtp._tls.example.test. IN TXT "v=TLSRPTv1; rua=mailto:postmaster@example.test"', lines)
        (record,) = [line for line in lines if line.startswith("_mta-sts.")]
        text = self.mta("dns", "example.test", "--policy").stdout
        policy = parse_policy(text, policy_id([record.partition('"')[2].rstrip('"').encode()]) or "")
        self.assertEqual((Mode.TESTING, ("mx.test",), 604_800), (policy.mode, policy.mx, policy.max_age))
        self.assertIn(b"mode: testing\r\n", text)
        self.assertNotIn("refused here", "\n".join(lines))

    def test_own_policy(self) -> None:
        """What the configuration says is in the policy, and another policy has another id."""
        before = self.lines("example.test")
        self.configure('[sts.policy]\nmode = "enforce"\nmx = ["MX1.test", "*.mx.test"]\nmax_age = "30d"\n')
        after = self.lines("example.test")
        self.assertIn("example.test. IN MX 10 mx1.test.", after)
        self.assertIn("mx.test is not among the hosts", "\n".join(after))
        self.assertIn("refused here", after[0])
        for words in ("mode: enforce", "mx: *.mx.test", "max_age: 2592000"):
            self.assertIn(f";   {words}", after)
        records = [line for line in before + after if line.startswith("_mta-sts.")]
        self.assertEqual(2, len(set(records)))

    def test_tlsa(self) -> None:
        """TLSA 3 1 1 is the digest of the key in each certificate that is named."""
        pem = trustme.CA().issue_cert("mx.test").cert_chain_pems[0].bytes()
        file = self.top / "cert.pem"
        file.write_bytes(pem)
        key = x509.load_pem_x509_certificate(pem).public_key()
        digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
        self.assertIn(f"_25._tcp.mx.test. IN TLSA 3 1 1 {digest}", self.lines("x.test", "--certificate", str(file)))
        file.write_text("nothing")
        self.assert_fails(os.EX_DATAERR, "no certificate", self.mta("dns", "x.test", "--certificate", str(file)))
        file.unlink()
        self.assert_fails(os.EX_NOINPUT, "No such file", self.mta("dns", "x.test", "--certificate", str(file)))

    def test_tlsa_of_the_configuration(self) -> None:
        """Each key of [tls] has its TLSA record, once; a certificate that can't be read is a comment."""
        digests = []
        for name in ("rsa", "ecdsa"):
            certificate, key = make(["mx.test"], 90, time.time())
            (self.state / f"{name}.pem").write_bytes(certificate)
            (self.state / f"{name}.key").write_bytes(key)
            public = x509.load_pem_x509_certificate(certificate).public_key()
            form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
            digests.append(hashlib.sha256(public.public_bytes(*form)).hexdigest())
        (self.state / "renewed.pem").write_bytes((self.state / "rsa.pem").read_bytes())
        for name in ("rsa", "ecdsa", "renewed", "gone"):
            self.configure(f'[[tls.certificates]]\ncertificate = "{name}.pem"\nkey = "{name}.key"\n')
        lines = self.lines("x.test")
        records = [line for line in lines if "IN TLSA" in line]
        self.assertEqual([f"_25._tcp.mx.test. IN TLSA 3 1 1 {digest}" for digest in digests], records)
        self.assertIn(f"; {self.state / 'rsa.pem'}, {self.state / 'renewed.pem'}", lines)
        self.assertIn(f"; {self.state / 'gone.pem'}: No such file or directory: its record is missing here.", lines)

    def test_bad_domain(self) -> None:
        """What is no domain is EX_USAGE."""
        for text in ("a b", "[192.0.2.1]", "-", 'a"b'):
            self.assert_fails(os.EX_USAGE, "DOMAIN", self.mta("dns", "--", text))

    def test_bad_configuration(self) -> None:
        """A policy that nobody could read is refused before it is published."""
        for text, words in (
            ('mx = ["*"]', "neither a host name"),
            ('mx = ["mx.*.test"]', "neither a host name"),
            ('max_age = "2y"', "max_age"),
            ('max_age = "53w"', "a year"),
            ('mode = "strict"', "enforce"),
        ):
            before = self.config.read_text()
            self.configure(f"[sts.policy]\n{text}\n")
            self.assert_fails(os.EX_CONFIG, words, self.mta("dns", "example.test"))
            self.config.write_text(before)

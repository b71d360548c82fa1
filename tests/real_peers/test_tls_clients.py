"""
Other mail servers that send to us over TLS, and what a client may show or hide. Needs Debian's openssl, swaks, postfix,
exim4-daemon-light; root for the last two.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from mta.tls.pairs import Files
from tests.end_to_end.daemon import PATIENCE, Daemon, eventually
from tests.real_peers.crossing import EIGHT_BIT, TO_US, RealPeerCase, body, crossing, eight_bit
from tests.real_peers.exim import Exim
from tests.real_peers.peer import Peer, program
from tests.real_peers.wiretap import Meddler, Wiretap
from tests.server.tls_client import authority, issue, write

PAIR = '\n[[tls.certificates]]\ncertificate = "{0.certificate}"\nkey = "{0.key}"\n'
STRIPPED = (b"250-STARTTLS\r\n", b"250-X-NOTHING\r\n")


class TlsClientCase(RealPeerCase):
    def start(self, *names: tuple[str, ...], workers: int = 1) -> Daemon:
        """A daemon with a certificate for each of `names`."""
        pairs = [write(self.top / "tls", issue(*each), each[0]) for each in names]
        self.authority = self.top / "authority.pem"
        self.authority.write_bytes(authority().cert_pem.bytes())
        self.mta = self.daemon("".join(PAIR.format(pair) for pair in pairs), workers)
        return self.mta

    def meddler(self) -> Meddler:
        """Somebody between a client and us who takes STARTTLS out of our offers."""
        meddler = Meddler(self.mta.port, STRIPPED)
        self.addCleanup(meddler.stop)
        return meddler

    def arrives(self, tap: Wiretap, peer: Peer) -> None:
        """The message comes, over TLS, and nobody in between has read it."""
        message = self.mail_in(self.mta, "alice", tap, peer)
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(message))
        self.assertIn("with ESMTPS (TLSv1.3", " ".join(message.split()))
        self.assert_client_said(tap, "EHLO", "STARTTLS\r\n")
        self.assert_client_did_not_say(tap, "MAIL FROM", "alice")

    def stays(self, tap: Wiretap, told: str, peer: Peer) -> None:
        """The peer defers for a reason that it tells, and says nothing of the message."""
        eventually(lambda: told in peer.told(), f"{told} in the log of {peer.name}")
        self.assert_client_did_not_say(tap, "MAIL FROM", "alice")
        self.assertEqual([], self.mta.mailbox("alice"))


class OpensslTests(TlsClientCase):
    def s_client(self, *options: str) -> str:
        command = [
            program("openssl", "openssl"),
            "s_client",
            "-connect",
            f"127.0.0.1:{self.mta.port}",
            "-crlf",
            "-ign_eof",
        ]
        command += ["-starttls", "smtp", "-CAfile", str(self.authority), *options]
        ran = subprocess.run(command, input=b"QUIT\n", capture_output=True, timeout=PATIENCE, check=False)
        return ran.stdout.decode("ascii", "replace") + ran.stderr.decode("ascii", "replace")

    @crossing("openssl s_client", TO_US, "no TLS 1.0", "no TLS 1.1")
    def test_old_versions(self) -> None:
        """TLS 1.0 and 1.1 are refused with an alert that says so (RFC 8996), and the log has a line."""
        self.start(("mx.test",))
        for version in ("-tls1", "-tls1_1"):
            told = self.s_client(version, "-cipher", "DEFAULT@SECLEVEL=0")
            self.assertIn("alert protocol version", told)
            self.assertNotIn("221 2.0.0", told)
        eventually(lambda: self.mta.output.read_text().count("tls-failed") == 2, "the lines of the log")

    @crossing("openssl s_client", TO_US, "SNI")
    def test_names(self) -> None:
        """A client gets the certificate of the host that it names, of a wildcard above it, else the first."""
        self.start(("mx.test",), ("a.test", "*.b.test"))
        for name, host, good in (
            ("mx.test", "mx.test", True),
            ("a.test", "a.test", True),
            ("mail.b.test", "mail.b.test", True),
            ("elsewhere.test", "mx.test", True),
            ("elsewhere.test", "a.test", False),
        ):
            told = self.s_client("-servername", name, "-verify_hostname", host)
            self.assertEqual(good, "Verify return code: 0 (ok)" in told, (name, host))
        self.assertIn("Verify return code: 0 (ok)", self.s_client("-noservername", "-verify_hostname", "mx.test"))

    @crossing("openssl s_client", TO_US, "session tickets")
    def test_resumption(self) -> None:
        """A client that comes back with its ticket is known, in both versions."""
        self.start(("mx.test",))
        kept = str(self.top / "session")
        for version in ("-tls1_2", "-tls1_3"):
            self.assertIn("New, TLSv1", self.s_client(version, "-sess_out", kept))
            self.assertIn("Reused, TLSv1", self.s_client(version, "-sess_in", kept))

    @crossing("openssl s_client", TO_US, "session tickets, 2 workers")
    def test_another_worker(self) -> None:
        """A client whose ticket another worker gave it makes a full handshake, and nobody is turned away."""
        self.start(("mx.test",), workers=2)
        kept = str(self.top / "session")
        self.s_client("-tls1_3", "-sess_out", kept)
        for _ in range(8):
            told = self.s_client("-tls1_3", "-sess_in", kept)
            self.assertRegex(told, "(New|Reused), TLSv1")
            self.assertIn("221 2.0.0", told)


class SwaksTests(TlsClientCase):
    def relay(self, *options: str, port: int = 0, code: int = 0) -> str:
        command = [program("swaks", "swaks"), "--server", f"127.0.0.1:{port or self.mta.port}", "--helo", "client.test"]
        command += ["--from", "carol@example.org", "--to", "dave@elsewhere.test", "-tls", *options]
        ran = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, text=True)
        self.assertEqual(code, ran.returncode, ran.stdout + ran.stderr)
        return ran.stdout + ran.stderr

    def shown(self, name: str) -> tuple[Files, str]:
        """A client certificate, and its fingerprint."""
        issued: trustme.LeafCert = trustme.CA().issue_cert(f"{name}.test")
        files = write(self.top / "clients", issued, name)
        pem = issued.cert_chain_pems[0].bytes()
        return files, load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()

    @crossing("swaks", TO_US, "client certificate")
    def test_client_certificate(self) -> None:
        """The certificate whose fingerprint is listed may relay; another one, or none, may not."""
        good, fingerprint = self.shown("good")
        other, _ = self.shown("other")
        more = '[[route]]\nrecipients = ["*@elsewhere.test"]\nnext_hop = "discard:"\n'
        self.mta = Daemon(self.top, PAIR.format(write(self.top / "tls", issue("mx.test"))) + more)
        text = self.mta.config.read_text()
        trusted = f'networks = []\nclient_certificates = ["{fingerprint}"]'
        self.mta.config.write_text(text.replace('networks = ["127.0.0.0/8"]', trusted))
        self.addCleanup(self.mta.stop, 9)
        self.mta.start()
        said = self.relay("--tls-cert", str(good.certificate), "--tls-key", str(good.key))
        self.assertIn("queued as", said)
        said = self.relay("--tls-cert", str(other.certificate), "--tls-key", str(other.key), code=24)
        self.assertIn("550 5.7.1", said)
        self.assertIn("550 5.7.1", self.relay(code=24))
        self.assertIn(f"certificate={fingerprint}", self.mta.output.read_text())

    @crossing("swaks", TO_US, "STARTTLS stripped")
    def test_stripped(self) -> None:
        """A client that wants TLS gives up where somebody takes our offer out; nothing of the mail was said."""
        self.start(("mx.test",))
        meddler = self.meddler()
        said = self.relay(port=meddler.port, code=29)  # swaks could not begin TLS
        self.assertIn("did not advertise STARTTLS", said)
        self.assert_client_did_not_say(meddler, "MAIL FROM")


class PostfixTests(TlsClientCase):
    def send(self, tap: Wiretap, *more: str) -> Peer:  # type: ignore[override]
        lines = (f"smtp_tls_CAfile = {self.authority}", "smtp_tls_loglevel = 1", "maximal_queue_lifetime = 1h", *more)
        postfix = self.postfix(f"smtp:[127.0.0.1]:{tap.port}", "".join(f"{line}\n" for line in lines))
        content = eight_bit("carol@example.org", "alice@local.test").replace(b"\r\n", b"\n")
        postfix.sendmail("-i", "-f", "carol@example.org", "alice@local.test", content=content)
        return postfix

    @crossing("Postfix", TO_US, "STARTTLS at verify")
    def test_verified(self) -> None:
        """A Postfix that verifies our certificate and our name sends; its log says Verified."""
        self.start(("mx.test",))
        tap = self.tap(self.mta.port)
        postfix = self.send(tap, "smtp_tls_security_level = secure", "smtp_tls_secure_cert_match = mx.test")
        self.arrives(tap, postfix)
        self.assertIn("Verified TLS connection established", postfix.told())

    @crossing("Postfix", TO_US, "STARTTLS at verify, wrong name")
    def test_wrong_name(self) -> None:
        """A Postfix that wants another name keeps the message."""
        self.start(("other.test",))
        tap = self.tap(self.mta.port)
        postfix = self.send(tap, "smtp_tls_security_level = secure", "smtp_tls_secure_cert_match = mx.test")
        self.stays(tap, "Server certificate not verified", postfix)

    @crossing("Postfix", TO_US, "STARTTLS at encrypt, stripped")
    def test_stripped(self) -> None:
        """A Postfix that wants TLS keeps the message where somebody takes our offer out."""
        self.start(("mx.test",))
        tap = self.meddler()
        self.stays(tap, "TLS is required, but was not offered", self.send(tap, "smtp_tls_security_level = encrypt"))


class EximTests(TlsClientCase):
    def send_by(self, tap: Wiretap, authorities: Path) -> Exim:
        out = f"  hosts_require_tls = *\n  tls_verify_certificates = {authorities}\n  tls_verify_hosts = *\n"
        exim = self.peer(Exim(self.top, tap.port, out=f"{out}  tls_verify_cert_hostnames = :\n"))
        content = eight_bit("carol@example.org", "alice@local.test")
        self.send(exim.port, "carol@example.org", "alice@local.test", content, mail=("BODY=8BITMIME",))
        return exim

    @crossing("Exim", TO_US, "STARTTLS, verified")
    def test_verified(self) -> None:
        """An Exim (GnuTLS) that verifies our certificate sends."""
        self.start(("mx.test",))
        tap = self.tap(self.mta.port)
        self.arrives(tap, self.send_by(tap, self.authority))

    @crossing("Exim", TO_US, "STARTTLS, not verified")
    def test_not_verified(self) -> None:
        """An Exim that trusts another authority keeps the message."""
        self.start(("mx.test",))
        tap, other = self.tap(self.mta.port), self.top / "other.pem"
        other.write_bytes(trustme.CA().cert_pem.bytes())
        other.chmod(0o644)
        self.stays(tap, "certificate verification failed", self.send_by(tap, other))

    @crossing("Exim", TO_US, "STARTTLS stripped")
    def test_stripped(self) -> None:
        """An Exim that wants TLS keeps the message where somebody takes our offer out."""
        self.start(("mx.test",))
        tap = self.meddler()
        self.stays(
            tap,
            "a TLS session is required, but the server did not offer TLS support",
            self.send_by(tap, self.authority),
        )

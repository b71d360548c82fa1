"""TLS as others begin it: s_client, swaks, posttls-finger. Needs Debian's openssl, swaks and postfix."""

from __future__ import annotations

import os
import smtplib
import ssl
import subprocess
from functools import partial

import trustme
from twisted.trial.unittest import SkipTest

from mta.tls.pairs import Files
from tests.end_to_end.daemon import PATIENCE, Daemon, eventually, free_port
from tests.real_peers.crossing import TO_US, RealPeerCase, crossing
from tests.real_peers.peer import program
from tests.server.tls_client import authority, issue, write

LISTENER = '\n[[listener]]\nname = "tls"\nendpoint = "tcp:{0}:interface=127.0.0.1"\nrole = "mx"\ntls = "implicit"\n'
PAIR = '\n[[tls.certificates]]\ncertificate = "{0.certificate}"\nkey = "{0.key}"\n'


class TlsCase(RealPeerCase):
    def start(self) -> tuple[Daemon, int]:
        """A daemon with an RSA and an ECDSA certificate, and its port for implicit TLS."""
        kinds = (trustme.KeyType.ECDSA, trustme.KeyType.RSA)
        pairs = [write(self.top / "tls", issue("mx.test", kind=kind), kind.name) for kind in kinds]
        self.pairs: list[Files] = pairs
        self.authority = self.top / "authority.pem"
        self.authority.write_bytes(authority().cert_pem.bytes())
        port = free_port()
        return self.daemon(LISTENER.format(port) + "".join(PAIR.format(pair) for pair in pairs)), port

    def delivered(self, daemon: Daemon) -> str:
        """The message that alice got, its trace field on one line."""
        (message,) = eventually(lambda: daemon.mailbox("alice"), "the message")
        return " ".join(message.split())


class OpensslTests(TlsCase):
    def _client(self, port: int, *options: str, say: bytes = b"QUIT\n") -> str:
        command = [program("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-crlf", "-ign_eof"]
        command += ["-servername", "mx.test", "-CAfile", str(self.authority), "-verify_return_error", *options]
        ran = subprocess.run(command, input=say, capture_output=True, timeout=PATIENCE, check=False)
        return ran.stdout.decode("ascii", "replace") + ran.stderr.decode("ascii", "replace")

    @crossing("openssl s_client", TO_US, "STARTTLS", "implicit TLS", "TLS 1.2", "TLS 1.3", "RSA", "ECDSA")
    def test_versions(self) -> None:
        """Both versions, both kinds of key, both ways to begin: the certificate verifies, and QUIT is answered."""
        daemon, implicit = self.start()
        for way in ((daemon.port, "-starttls", "smtp"), (implicit,)):
            for version, cipher in (("1_2", "aRSA"), ("1_2", "aECDSA"), ("1_3", "")):
                options = [*way[1:], f"-tls{version}", *(["-cipher", cipher] if cipher else [])]
                told = self._client(int(way[0]), *map(str, options))
                self.assertIn("Verify return code: 0 (ok)", told, options)
                self.assertIn("221 2.0.0", told, options)

    def test_renewal(self) -> None:
        """A certificate that is replaced under the running daemon is shown to the next client, some seconds later."""
        _, port = self.start()
        for files, kind in zip(self.pairs, (trustme.KeyType.ECDSA, trustme.KeyType.RSA), strict=True):
            write(files.certificate.parent, issue("new.test", "mx.test", kind=kind), kind.name)
        eventually(lambda: self._shown(port), "the new certificate")

    def _shown(self, port: int) -> bool:
        told = self._client(port, "-showcerts")
        shown = subprocess.run(
            [program("openssl", "openssl"), "x509", "-noout", "-text"],
            input=told.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return b"DNS:new.test" in shown.stdout

    def test_garbage(self) -> None:
        """Clear text on the port of TLS is one line in the log, and no traceback."""
        daemon, implicit = self.start()
        ran = subprocess.run(
            [program("swaks", "swaks"), "--server", f"127.0.0.1:{implicit}", "--to", "a@local.test", "--timeout", "5"],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertNotEqual(0, ran.returncode)
        eventually(lambda: "tls-failed" in daemon.output.read_text(), "the line of the log")
        self.assertNotIn("Traceback", daemon.output.read_text())


class SwaksTests(TlsCase):
    def _swaks(self, port: int, *options: str) -> None:
        command = [program("swaks", "swaks"), "--server", f"127.0.0.1:{port}", "--helo", "client.test"]
        command += ["--from", "carol@example.org", "--to", "alice@local.test", *options]
        ran = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, text=True)
        if "Net::SSLeay" in ran.stdout + ran.stderr:
            raise SkipTest("swaks has no TLS (Debian: libnet-ssleay-perl, see .ci/packages.sh)")
        self.assertEqual(0, ran.returncode, ran.stdout + ran.stderr)

    @crossing("swaks", TO_US, "STARTTLS")
    def test_starttls(self) -> None:
        """A message comes through STARTTLS, and its trace field says ESMTPS."""
        daemon, _ = self.start()
        self._swaks(daemon.port, "-tls")
        self.assertIn("with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id", self.delivered(daemon))

    @crossing("swaks", TO_US, "implicit TLS")
    def test_implicit(self) -> None:
        """A message comes through TLS from the start."""
        daemon, port = self.start()
        self._swaks(port, "-tlsc")
        self.assertIn("with ESMTPS (TLSv1.3", self.delivered(daemon))


class SmtplibTests(TlsCase):
    @crossing("smtplib", TO_US, "STARTTLS", "implicit TLS")
    def test_message(self) -> None:
        """Messages come through STARTTLS and through TLS from the start; their trace fields say ESMTPS."""
        daemon, implicit = self.start()
        trust = ssl.create_default_context(cafile=str(self.authority))
        trust.check_hostname = False  # it is 127.0.0.1 that it would look for
        with smtplib.SMTP("127.0.0.1", daemon.port, timeout=PATIENCE) as client:
            client.starttls(context=trust)
            client.sendmail("carol@example.org", "alice@local.test", "Subject: hi\r\n\r\n" + "hello\r\n" * 50_000)
        with smtplib.SMTP_SSL("127.0.0.1", implicit, timeout=PATIENCE, context=trust) as client:
            client.sendmail("carol@example.org", "bob@local.test", "Subject: hi\r\n\r\nhello\r\n")
        for user in ("alice", "bob"):
            (message,) = eventually(partial(daemon.mailbox, user), "the message")
            self.assertIn("with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id", " ".join(message.split()))
        self.assertIn("tls=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384", daemon.output.read_text())


class PosttlsFingerTests(TlsCase):
    @crossing("posttls-finger", TO_US, "STARTTLS")
    def test_verified(self) -> None:
        """Postfix's client finds our certificate and our name good."""
        daemon, _ = self.start()
        command = [program("posttls-finger", "postfix"), "-c", "-l", "secure", "-F", str(self.authority)]
        command += ["-L", "summary", f"[127.0.0.1]:{daemon.port}", "mx.test"]
        (self.top / "main.cf").write_text("compatibility_level = 3.6\n")
        environment = {**os.environ, "MAIL_CONFIG": str(self.top)}
        ran = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE, check=False, text=True)
        self.assertIn("Verified TLS connection established", ran.stdout + ran.stderr)

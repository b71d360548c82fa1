"""
Every mechanism that common clients know, with TLS and without: what they reach, and how the rest is refused.

Needs Debian's swaks with its Perl modules, gsasl, curl and msmtp.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.end_to_end.daemon import PATIENCE, Daemon, eventually, free_port
from tests.real_peers.crossing import TO_US, RealPeerCase, crossing
from tests.real_peers.peer import program
from tests.real_peers.wiretap import Meddler, Wiretap
from tests.server.tls_client import authority, issue, write

LISTENERS = """
[[listener]]
name = "submission"
endpoint = "tcp:{starttls}:interface=127.0.0.1"
role = "submission"
{more}

[[listener]]
name = "submissions"
endpoint = "tcp:{implicit}:interface=127.0.0.1"
role = "submission"
tls = "implicit"

[auth]
backend = "file"
failure_delay = "0s"

[[tls.certificates]]
certificate = "{files.certificate}"
key = "{files.key}"
"""
NOT_OFFERED = "504 5.5.4"


class MechanismCase(RealPeerCase):
    """A daemon that trusts nobody but alice, whose password is "pencil"; mail from her is taken for anybody."""

    def submission(self, more: str = "auth_without_tls = true") -> Daemon:
        self.starttls, self.implicit = free_port(), free_port()
        files = write(self.top / "tls", issue("mx.test", "127.0.0.1", "localhost"))
        self.authority = self.top / "authority.pem"
        self.authority.write_bytes(authority().cert_pem.bytes())
        listeners = LISTENERS.format(starttls=self.starttls, implicit=self.implicit, files=files, more=more)
        daemon = Daemon(self.top, listeners)
        daemon.config.write_text(daemon.config.read_text().replace('networks = ["127.0.0.0/8"]', "networks = []"))
        self.addCleanup(daemon.stop, 9)
        daemon.start()
        self.assertEqual(b"", daemon.mta("user", "add", "alice", content=b"pencil\n").stderr)
        return daemon

    def run_client(self, *command: str, content: str = "") -> tuple[int, str]:
        """The exit code and all that the client said."""
        ran = subprocess.run(
            command, input=content, capture_output=True, timeout=PATIENCE, check=False, text=True, errors="replace"
        )
        return ran.returncode, ran.stdout + ran.stderr

    def mail(self) -> Path:
        path = self.top / "mail.txt"
        path.write_text("From: alice@local.test\r\nSubject: hi\r\n\r\nhello\r\n", newline="")
        return path


class SwaksTests(MechanismCase):
    def swaks(self, port: int, mechanism: str, *options: str) -> tuple[int, str]:
        command = [program("swaks", "swaks"), "--server", f"127.0.0.1:{port}", "--helo", "client.test", *options]
        command += ["--from", "alice@local.test", "--to", "bob@local.test", "--auth", mechanism]
        return self.run_client(*command, "--auth-user", "alice", "--auth-password", "pencil")

    @crossing("swaks", TO_US, "AUTH PLAIN under STARTTLS", "AUTH LOGIN under STARTTLS", "AUTH PLAIN, implicit TLS")
    def test_tls(self) -> None:
        """swaks logs in under TLS, however that begins, and the mail is delivered; in clear it is offered nothing."""
        daemon = self.submission("")
        for port, mechanism, *options in (
            (self.starttls, "PLAIN", "-tls"),
            (self.starttls, "LOGIN", "-tls"),
            (self.implicit, "PLAIN", "-tlsc"),
        ):
            code, said = self.swaks(port, mechanism, *options)
            self.assertEqual(0, code, said)
            self.assertIn("235 2.7.0", said)
        eventually(lambda: len(daemon.mailbox("bob")) == 3, "three messages")
        code, said = self.swaks(self.starttls, "PLAIN")
        self.assertEqual(28, code, said)  # swaks could not log in
        self.assertIn("Host did not advertise authentication", said)

    @crossing("swaks", TO_US, "no AUTH CRAM-MD5", "no AUTH CRAM-SHA1", "no AUTH DIGEST-MD5", "no AUTH NTLM")
    def test_not_offered(self) -> None:
        """What needs the password in clear on our disk is not offered, and 504 for who asks for it all the same."""
        daemon = self.submission()
        for mechanism in ("CRAM-MD5", "CRAM-SHA1", "DIGEST-MD5", "NTLM"):
            code, said = self.swaks(self.starttls, mechanism)
            self.assertEqual(28, code, said)
            self.assertIn("Auth not attempted", said)
            meddler = Meddler(self.starttls, (b" PLAIN LOGIN", b" PLAIN " + mechanism.encode()))
            self.addCleanup(meddler.stop)
            code, said = self.swaks(meddler.port, mechanism)
            self.assertEqual(28, code, said)
            self.assertIn(f"<** {NOT_OFFERED} ", said)
        self.assertEqual([], daemon.mailbox("bob"))
        self.assertNotIn("Traceback", daemon.output.read_text())


class EhloFirst(Wiretap):
    """gsasl 2.2 says STARTTLS without EHLO, which is 503 here: this one says it first."""

    _began = False

    def passed(self, who: str, data: bytes) -> bytes:
        if self._began:
            return data
        if who == "C:":
            return data.replace(b"STARTTLS", b"EHLO gsasl.test")
        if data.startswith(b"250"):  # it comes in one piece, and gsasl did not ask for it
            self._connected[-1].sendall(b"STARTTLS\r\n")
            return b""
        self._began = data.startswith(b"220 2.0.0")
        return data


class GsaslTests(MechanismCase):
    def gsasl(self, mechanism: str, *options: str, password: str = "pencil") -> tuple[int, str]:
        command = [
            program("gsasl", "gsasl"),
            "--smtp",
            f"--connect=127.0.0.1:{self.starttls}",
            f"--mechanism={mechanism}",
        ]
        return self.run_client(*command, "--authentication-id=alice", f"--password={password}", *options)

    @crossing("gsasl", TO_US, "AUTH SCRAM-SHA-256", "AUTH PLAIN", "AUTH LOGIN")
    def test_in_clear(self) -> None:
        """GNU SASL logs in on loopback by each mechanism, and not with a wrong password."""
        self.submission()
        for mechanism in ("SCRAM-SHA-256", "PLAIN", "LOGIN"):
            code, said = self.gsasl(mechanism, "--no-starttls")
            self.assertEqual(0, code, said)
            self.assertIn("235 2.7.0", said)
            code, said = self.gsasl(mechanism, "--no-starttls", password="wrong")
            self.assertNotEqual(0, code, said)
            self.assertNotIn("235 2.7.0", said)

    @crossing("gsasl", TO_US, "AUTH SCRAM-SHA-256-PLUS under STARTTLS", "AUTH SCRAM-SHA-256 under STARTTLS")
    def test_starttls(self) -> None:
        """GNU SASL binds SCRAM to the channel of TLS 1.3 (RFC 9266)."""
        self.submission("")
        port = self.starttls
        for mechanism, *options in (("SCRAM-SHA-256-PLUS",), ("SCRAM-SHA-256", "--no-cb")):
            tap = EhloFirst(port)
            self.addCleanup(tap.stop)
            self.starttls = tap.port
            code, said = self.gsasl(mechanism, "--starttls", f"--x509-ca-file={self.authority}", *options)
            self.assertEqual(0, code, said)
            self.assertIn("235 2.7.0", said)

    @crossing("gsasl", TO_US, "no AUTH CRAM-MD5", "no AUTH DIGEST-MD5", "no AUTH SCRAM-SHA-1", "no AUTH ANONYMOUS")
    def test_not_offered(self) -> None:
        """Who asks for what is not offered hears 504."""
        self.submission()
        for mechanism in ("CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "ANONYMOUS"):
            code, said = self.gsasl(mechanism, "--no-starttls", "--anonymous-token=x")
            self.assertNotEqual(0, code, said)
            self.assertIn(NOT_OFFERED, said)


class CurlTests(MechanismCase):
    def curl(self, url: str, mechanism: str, *options: str, password: str = "pencil") -> tuple[int, str]:
        command = [
            program("curl", "curl"),
            "--verbose",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--cacert",
            str(self.authority),
        ]
        command += [
            "--login-options",
            f"AUTH={mechanism}",
            "--user",
            f"alice:{password}",
            "--mail-from",
            "alice@local.test",
        ]
        return self.run_client(
            *command, "--mail-rcpt", "bob@local.test", "--upload-file", str(self.mail()), *options, url
        )

    @crossing("curl", TO_US, "AUTH PLAIN under STARTTLS", "AUTH LOGIN under STARTTLS", "AUTH PLAIN, implicit TLS")
    def test_tls(self) -> None:
        """curl verifies us, logs in and sends; a wrong password is 535, and no mail."""
        daemon = self.submission("")
        for url, mechanism, *options in (
            (f"smtp://127.0.0.1:{self.starttls}/client.test", "PLAIN", "--ssl-reqd"),
            (f"smtp://127.0.0.1:{self.starttls}/client.test", "LOGIN", "--ssl-reqd"),
            (f"smtps://127.0.0.1:{self.implicit}/client.test", "PLAIN"),
        ):
            code, said = self.curl(url, mechanism, *options)
            self.assertEqual(0, code, said)
            self.assertIn("< 235 2.7.0", said)
            code, said = self.curl(url, mechanism, *options, password="wrong")
            self.assertEqual(67, code, said)  # CURLE_LOGIN_DENIED
            self.assertIn("< 535 5.7.8", said)
        eventually(lambda: len(daemon.mailbox("bob")) == 3, "three messages")

    @crossing("curl", TO_US, "no AUTH CRAM-MD5", "no AUTH DIGEST-MD5", "no AUTH NTLM")
    def test_not_offered(self) -> None:
        """What we don't offer curl does not try, and says so."""
        self.submission()
        for mechanism in ("CRAM-MD5", "DIGEST-MD5", "NTLM"):
            code, said = self.curl(f"smtp://127.0.0.1:{self.starttls}/client.test", mechanism)
            self.assertEqual(67, code, said)
            self.assertNotIn("> AUTH", said)


class MsmtpTests(MechanismCase):
    @crossing(
        "msmtp",
        TO_US,
        "AUTH SCRAM-SHA-256 under STARTTLS",
        "AUTH PLAIN under STARTTLS",
        "AUTH SCRAM-SHA-256, implicit TLS",
    )
    def test_tls(self) -> None:
        """msmtp (GnuTLS) verifies us and logs in, however TLS begins."""
        daemon = self.submission("")
        for port, starttls, mechanism in (
            (self.starttls, "on", "scram-sha-256"),
            (self.starttls, "on", "plain"),
            (self.implicit, "off", "scram-sha-256"),
        ):
            command = [program("msmtp", "msmtp"), "--file=/dev/null", "--host=127.0.0.1", f"--port={port}", "--tls=on"]
            command += [f"--tls-starttls={starttls}", f"--tls-trust-file={self.authority}", f"--auth={mechanism}"]
            command += ["--user=alice", "--passwordeval=echo pencil", "--timeout=20", "--from=alice@local.test"]
            code, said = self.run_client(*command, "--", "bob@local.test", content=self.mail().read_text())
            self.assertEqual(0, code, said)
        messages = eventually(lambda: len(daemon.mailbox("bob")) == 3 and daemon.mailbox("bob"), "three messages")
        for message in messages or ():
            self.assertIn("with ESMTPSA (TLSv1.3", " ".join(message.split()))

    @crossing("msmtp", TO_US, "STARTTLS stripped")
    def test_stripped(self) -> None:
        """Where somebody takes STARTTLS out of our offers msmtp gives up, without the password in clear."""
        daemon = self.submission("")
        meddler = Meddler(self.starttls, (b"250-STARTTLS\r\n", b"250-X-NOTHING\r\n"))
        self.addCleanup(meddler.stop)
        command = [
            program("msmtp", "msmtp"),
            "--file=/dev/null",
            "--host=127.0.0.1",
            f"--port={meddler.port}",
            "--tls=on",
        ]
        command += [f"--tls-trust-file={self.authority}", "--auth=plain", "--user=alice", "--passwordeval=echo pencil"]
        code, said = self.run_client(*command, "--from=alice@local.test", "--", "bob@local.test", content="x\n")
        self.assertNotEqual(0, code, said)
        self.assertIn("STARTTLS", said)
        self.assertNotIn("AUTH", meddler.client)
        self.assertEqual([], daemon.mailbox("bob"))

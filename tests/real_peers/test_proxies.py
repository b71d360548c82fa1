"""Proxies in front of us: HAProxy, and swaks in the place of one. Needs Debian's haproxy, openssl and swaks."""

from __future__ import annotations

import re
import smtplib
import ssl
import subprocess

from twisted.trial.unittest import SkipTest

from tests.end_to_end.daemon import PATIENCE, Daemon, eventually, free_port
from tests.real_peers.crossing import TO_US, RealPeerCase, crossing
from tests.real_peers.haproxy import HAProxy
from tests.real_peers.peer import program
from tests.server.tls_client import authority, issue, write

LISTENER = """
[[listener]]
name = "proxied"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "mx"
{key} = ["127.0.0.1/32"]
"""
PAIR = '\n[[tls.certificates]]\ncertificate = "{0.certificate}"\nkey = "{0.key}"\n'
# A second listener, where TLS begins with the connection.
SECURE = """
[[listener]]
name = "secure"
endpoint = "tcp:{port}:interface=127.0.0.1"
role = "mx"
tls = "implicit"
proxies = ["127.0.0.1/32"]
"""
ADDRESSES = ("--proxy-source-port", "4000", "--proxy-dest", "127.0.0.1", "--proxy-dest-port", "25")


class ProxiesCase(RealPeerCase):
    def behind(self, key: str, workers: int = 1) -> tuple[Daemon, int]:
        """A daemon, and a port of its that believes 127.0.0.1."""
        port = free_port()
        return self.daemon(LISTENER.format(port=port, key=key), workers), port

    def behind_tls(self, key: str) -> tuple[Daemon, int, int]:
        """As `behind`, with a certificate, and a second port that speaks TLS from the start behind a PROXY header."""
        pair = write(self.top / "tls", issue("mx.test"))
        self.authority = self.top / "authority.pem"
        self.authority.write_bytes(authority().cert_pem.bytes())
        port, secure = free_port(), free_port()
        more = LISTENER.format(port=port, key=key) + SECURE.format(port=secure) + PAIR.format(pair)
        return self.daemon(more, 1), port, secure

    def accepted(self, daemon: Daemon, listener: str = "proxied") -> str:
        """The log line of the message that came through."""
        lines = re.findall(rf".* accepted .*listener={listener} .*", daemon.output.read_text())
        self.assertEqual(1, len(lines), daemon.output.read_text())
        return str(lines[0])


class HAProxyTests(ProxiesCase):
    def _through(self, option: str) -> None:
        daemon, port = self.behind("proxies", workers=2)
        proxy = self.peer(HAProxy(self.top, port, option))
        tap = self.tap()
        # Its looks at us come with a header, too, and are served.
        eventually(lambda: "Health check for server mx/mx1 succeeded" in proxy.told(), "HAProxy's look at us")
        with smtplib.SMTP("127.0.0.1", proxy.port, "client.test", PATIENCE, ("127.0.0.5", 0)) as client:
            client.sendmail("carol@example.org", ["alice@local.test"], b"Subject: hi\r\n\r\nhello\r\n")
        message = self.mail_in(daemon, "alice", tap, proxy)
        self.assertIn("Received: from client.test ([127.0.0.5])", message)
        self.assertIn(" accepted client=127.0.0.5 proxy=127.0.0.1 helo=client.test ", self.accepted(daemon))
        self.assertNotIn("proxy-refused", daemon.output.read_text())
        self.assertNotIn("DOWN", proxy.told())

    @crossing("HAProxy", TO_US, "PROXY protocol version 1")
    def test_version_1(self) -> None:
        """With send-proxy a message is traced to the client of HAProxy."""
        self._through("send-proxy")

    @crossing("HAProxy", TO_US, "PROXY protocol version 2")
    def test_version_2(self) -> None:
        """With send-proxy-v2, too."""
        self._through("send-proxy-v2")

    @crossing("HAProxy", TO_US, "PROXY protocol version 2 with TLVs")
    def test_more_in_the_header(self) -> None:
        """What HAProxy can put behind the addresses is passed over."""
        self._through("send-proxy-v2 proxy-v2-options crc32c,unique-id,authority")

    def _through_tls(self, option: str) -> None:
        daemon, port, secure = self.behind_tls("proxies")
        proxy = self.peer(HAProxy(self.top, port, option, secure))
        self._shaken(proxy.port, "-starttls", "smtp")
        self._shaken(proxy.secure_port)
        trust = ssl.create_default_context(cafile=str(self.authority))
        trust.check_hostname = False  # it is 127.0.0.1 that it would look for
        source = ("127.0.0.5", 0)
        with smtplib.SMTP_SSL(
            "127.0.0.1", proxy.secure_port, "client.test", timeout=PATIENCE, context=trust, source_address=source
        ) as client:
            client.sendmail("carol@example.org", ["alice@local.test"], b"Subject: hi\r\n\r\nhello\r\n")
        message = " ".join(self.mail_in(daemon, "alice", self.tap(), proxy).split())
        self.assertIn("Received: from client.test ([127.0.0.5])", message)
        self.assertIn("with ESMTPS (TLSv1.3 ", message)
        accepted = self.accepted(daemon, "secure")
        self.assertIn(" accepted client=127.0.0.5 proxy=127.0.0.1 ", accepted)
        self.assertIn(" tls=TLSv1.3 ", accepted)
        self.assertNotIn("proxy-refused", daemon.output.read_text())

    def _shaken(self, port: int, *options: str) -> None:
        """OpenSSL's client finds the certificate good, through the proxy."""
        command = [program("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-crlf", "-ign_eof"]
        command += ["-servername", "mx.test", "-CAfile", str(self.authority), "-verify_return_error", *options]
        ran = subprocess.run(command, input=b"QUIT\n", capture_output=True, timeout=PATIENCE, check=False)
        told = (ran.stdout + ran.stderr).decode("ascii", "replace")
        self.assertIn("Verify return code: 0 (ok)", told)
        self.assertIn("221 2.0.0", told)

    @crossing("HAProxy", TO_US, "PROXY protocol version 1 before STARTTLS", "and before implicit TLS")
    def test_tls_version_1(self) -> None:
        """The header of version 1 comes before TLS, which HAProxy only passes on, and the client is the client."""
        self._through_tls("send-proxy")

    @crossing("HAProxy", TO_US, "PROXY protocol version 2 before STARTTLS", "and before implicit TLS")
    def test_tls_version_2(self) -> None:
        """That of version 2, too."""
        self._through_tls("send-proxy-v2")


class SwaksTests(ProxiesCase):
    def _swaks(self, port: int, *options: str) -> subprocess.CompletedProcess[str]:
        command = [program("swaks", "swaks"), "--server", f"127.0.0.1:{port}", "--helo", "client.test"]
        command += ["--from", "carol@example.org", "--to", "alice@local.test", *options]
        return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, text=True)

    def _sent(self, daemon: Daemon, port: int, *options: str) -> str:
        ran = self._swaks(port, *options)
        if "Net::SSLeay" in ran.stdout + ran.stderr:
            raise SkipTest("swaks has no TLS (Debian: libnet-ssleay-perl, see .ci/packages.sh)")
        self.assertEqual(0, ran.returncode, ran.stdout + ran.stderr)
        return self.mail_in(daemon, "alice", self.tap())

    @crossing("swaks", TO_US, "PROXY protocol version 1")
    def test_version_1(self) -> None:
        """A message with `--proxy-version 1` over IPv6 is the client's."""
        daemon, port = self.behind("proxies")
        family = (
            "--proxy-version",
            "1",
            "--proxy-family",
            "TCP6",
            "--proxy-source",
            "2001:db8::7",
            "--proxy-dest",
            "::1",
        )
        message = self._sent(daemon, port, *family, "--proxy-source-port", "4000", "--proxy-dest-port", "25")
        self.assertIn("([IPv6:2001:db8::7])", message)

    @crossing("swaks", TO_US, "PROXY protocol version 2")
    def test_version_2(self) -> None:
        """A message with `--proxy-version 2` is the client's."""
        daemon, port = self.behind("proxies")
        family = ("--proxy-version", "2", "--proxy-family", "AF_INET", "--proxy-source", "203.0.113.7")
        self.assertIn("([203.0.113.7])", self._sent(daemon, port, *family, *ADDRESSES))
        self.assertIn(" accepted client=203.0.113.7 proxy=127.0.0.1 ", self.accepted(daemon))

    @crossing("swaks", TO_US, "PROXY protocol version 2 before implicit TLS")
    def test_implicit_tls(self) -> None:
        """With `-tlsc` the header comes first, and TLS behind it."""
        daemon, _port, secure = self.behind_tls("proxies")
        family = ("--proxy-version", "2", "--proxy-family", "AF_INET", "--proxy-source", "203.0.113.7")
        self.assertIn("([203.0.113.7])", self._sent(daemon, secure, "-tlsc", *family, *ADDRESSES))
        self.assertIn(" accepted client=203.0.113.7 proxy=127.0.0.1 ", self.accepted(daemon, "secure"))

    @crossing("swaks", TO_US, "XCLIENT within STARTTLS", "XCLIENT before STARTTLS")
    def test_xclient_and_tls(self) -> None:
        """Within TLS the session begins anew within it; before, TLS begins in the session of the named client."""
        daemon, port, _secure = self.behind_tls("xclient")
        for number, options in enumerate(((), ("--xclient-before-starttls",))):
            named = ("--xclient-name", "far.example", "--xclient-addr", f"203.0.113.{number}")
            ran = self._swaks(port, "-tls", *named, *options)
            self.assertEqual(0, ran.returncode, ran.stdout + ran.stderr)
            line = rf" accepted client=203.0.113.{number} proxy=127.0.0.1 .* protocol=ESMTPS tls=TLSv1.3 "
            self.assertRegex(daemon.output.read_text(), line)

    @crossing("swaks", TO_US, "no PROXY header")
    def test_no_header(self) -> None:
        """Without a header, and with one that is none, it hears nothing."""
        daemon, port = self.behind("proxies")
        for options in ((), ("--proxy", "TCP4 203.0.113.7")):
            ran = self._swaks(port, "--timeout", "8s", *options)
            self.assertNotEqual(0, ran.returncode)
            self.assertNotIn("<-  220", ran.stdout)
        self.assertEqual(2, daemon.output.read_text().count(" proxy-refused "))

    @crossing("swaks", TO_US, "XCLIENT")
    def test_xclient(self) -> None:
        """With `--xclient-addr` and its kin, in two commands, the message is the named client's."""
        daemon, port = self.behind("xclient")
        options = ("--xclient-name", "far.example", "--xclient-addr", "203.0.113.7", "--xclient-port", "4000")
        more = (
            "--xclient-delim",
            "--xclient-helo",
            "far.example",
            "--xclient-proto",
            "ESMTP",
            "--xclient-login",
            "b c",
        )
        message = self._sent(daemon, port, *options, *more)
        self.assertIn("Received: from client.test (far.example [203.0.113.7])", message)
        self.assertIn(" accepted client=203.0.113.7 proxy=127.0.0.1 ", self.accepted(daemon))
        self.assertIn('login="b c"', daemon.output.read_text())

    @crossing("swaks", TO_US, "no XCLIENT")
    def test_no_xclient(self) -> None:
        """A listener that names no peers for it does not offer it, and swaks goes away."""
        daemon, _port = self.behind("xclient")
        ran = self._swaks(daemon.port, "--xclient-addr", "203.0.113.7")
        self.assertNotEqual(0, ran.returncode)
        self.assertNotIn("250-XCLIENT", ran.stdout)

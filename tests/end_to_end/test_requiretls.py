"""REQUIRETLS and TLS-Required through a chain of real daemons with certificates of a test authority (RFC 8689)."""

from __future__ import annotations

import re
import smtplib
import ssl

from tests.end_to_end.daemon import PATIENCE, Daemon, EndToEndCase, eventually, route
from tests.server.tls_client import authority, issue, write

TLS = """
[[tls.certificates]]
certificate = "{files.certificate}"
key = "{files.key}"

[client.tls]
ca_file = "{authorities}"
"""
SECRET = "the body is nobody's business"
TEXT = f"Subject: hi\r\n\r\n{SECRET}\r\n"


class ChainTests(EndToEndCase):
    def node(self, name: str, more: str = "", *, local: str = "", certificate: str = "127.0.0.1") -> Daemon:
        """A daemon with TLS that is not started; `local` is its domain, none by default."""
        top = self.top / name
        top.mkdir()
        authorities = self.top / "authorities.pem"
        authorities.write_bytes(authority().cert_pem.bytes())
        files = write(top / "tls", issue(certificate))
        daemon = Daemon(top, TLS.format(files=files, authorities=authorities) + more)
        config = daemon.config.read_text()
        daemon.config.write_text(
            config.replace('domains = ["local.test"]', f'domains = ["{local}"]' if local else "domains = []")
        )
        self.addCleanup(daemon.stop, 9)
        return daemon

    def chain(self, *, last: str = "") -> tuple[Daemon, Daemon, Daemon]:
        """near.test at the first, far.test at the last one, another between them; `last` configures the last one."""
        near, far = self.node("near", local="near.test"), self.node("far", last, local="far.test")
        between = self.node("between", route("*@far.test", far.port) + route("*@near.test", near.port))
        with near.config.open("a") as config:
            config.write(route("*@far.test", between.port))
        for daemon in (near, between, far):
            daemon.start()
        return near, between, far

    def submit(self, daemon: Daemon, *parameters: str, text: str = TEXT, secure: bool = True) -> str:
        """A message from alice@near.test to bob@far.test; its queue id, or the refusal of MAIL."""
        with smtplib.SMTP("127.0.0.1", daemon.port, "client.test", timeout=PATIENCE) as client:
            if secure:
                trusting = ssl.create_default_context()
                authority().configure_trust(trusting)
                self.assertEqual(220, client.starttls(context=trusting)[0])
            client.ehlo()
            self.assertEqual(secure, client.has_extn("requiretls"))
            code, said = client.mail("alice@near.test", parameters)
            if code != 250:
                return f"{code} {said.decode()}"
            client.rcpt("bob@far.test")
            code, said = client.data(text)
        found = re.search(rb"queued as (\w+)", said)
        assert code == 250, said
        assert found, said
        return found[1].decode()

    def accepted(self, daemon: Daemon) -> list[tuple[str, str | None]]:
        """Protocol and require_tls of all that a daemon accepted, as its log has them."""
        lines = [line for line in daemon.output.read_text().splitlines() if " accepted " in line]
        found = []
        for line in lines:
            protocol, tag = re.search(r"protocol=(\S+)", line), re.search(r"require_tls=(\S+)", line)
            assert protocol, line
            found.append((protocol[1], tag[1] if tag else None))
        return found

    def test_required(self) -> None:
        """It goes from host to host within verified TLS, each one tells the next, and the trace of each has it."""
        near, between, far = self.chain()
        identity = self.submit(near, "REQUIRETLS")
        (message,) = eventually(lambda: far.mailbox("bob"), "the message")
        self.assertIn(SECRET, message)
        for daemon in (near, between, far):
            self.assertEqual([("ESMTPS", "yes")], self.accepted(daemon))
        self.assertIn("require_tls=yes", near.mta("trace", identity).stdout.decode())
        eventually(lambda: 'tls="TLSv1.3 verified (requiretls: verify)"' in between.output.read_text(), "the delivery")

    def test_comes_back(self) -> None:
        """Where the last host does not offer it the one before sends 5.7.30, with the header alone and REQUIRETLS."""
        near, between, far = self.chain(last="\n[tls]\nrequiretls = false\n")
        self.submit(near, "REQUIRETLS", "RET=FULL")
        (report,) = eventually(lambda: near.mailbox("alice"), "the report")
        self.assertIn("Status: 5.7.30", report)
        self.assertIn("does not offer REQUIRETLS", report)
        self.assertNotIn(SECRET, report)
        self.assertEqual([("ESMTPS", "yes"), ("ESMTPS", "yes")], self.accepted(near))
        self.assertEqual([("ESMTPS", "yes"), ("bounce", "yes")], self.accepted(between))
        self.assertEqual([], self.accepted(far))

    def test_stripped(self) -> None:
        """Where STARTTLS is missing, as if taken out on the way, nothing is sent in clear: it is 5.7.10."""
        near, between, far = self.chain()
        far.stop()
        config = far.config.read_text()
        far.config.write_text(config.replace('role = "mx"', 'role = "mx"\ntls = "none"', 1))
        far.start()
        self.submit(near, "REQUIRETLS")
        (report,) = eventually(lambda: near.mailbox("alice"), "the report")
        self.assertIn("Status: 5.7.10", report)
        self.assertIn("does not offer STARTTLS; TLS is demanded (requiretls: verify)", " ".join(report.split()))
        self.assertEqual([("ESMTPS", "yes"), ("bounce", "yes")], self.accepted(between))
        self.assertEqual([], self.accepted(far))

    def test_in_clear(self) -> None:
        """In clear it is not offered, and refused."""
        near = self.node("near")
        near.start()
        said = self.submit(near, "REQUIRETLS", secure=False)
        self.assertEqual("530 5.7.10 REQUIRETLS needs TLS here already: say STARTTLS first", said)

    def test_not_required(self) -> None:
        """TLS-Required: No is kept at each host, though MAIL does not say it, and the field stays in the header."""
        near, between, far = self.chain()
        self.submit(near, text="TLS-Required: No\r\n" + TEXT)
        (message,) = eventually(lambda: far.mailbox("bob"), "the message")
        self.assertIn("TLS-Required: No\n", message)
        for daemon in (near, between, far):
            self.assertEqual([("ESMTPS", "no")], self.accepted(daemon))

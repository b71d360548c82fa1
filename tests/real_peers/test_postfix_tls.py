"""Postfix as a server with TLS, at each level of our client. Needs Debian's postfix, and root."""

from __future__ import annotations

import ssl
from pathlib import Path

from tests.end_to_end.daemon import eventually
from tests.peers.certificates import DAY, Issued, made
from tests.real_peers.crossing import EIGHT_BIT, FROM_US, RealPeerCase, body, crossing, eight_bit
from tests.real_peers.postfix import Postfix
from tests.real_peers.wiretap import Meddler, Wiretap

ROOT = made("test root", is_authority=True)
BETWEEN = made("test intermediate", ROOT, is_authority=True)
# The next hop is an address, and so is the name that its certificate must have.
GOOD = made("mail.postfix.test", BETWEEN, names=("127.0.0.1",))


class ToPostfixTlsTests(RealPeerCase):
    def _pair(self, level: str, issued: Issued | None, more: str = "", ours: str = "") -> tuple[Postfix, Wiretap]:
        """Our daemon, configured with `ours` and a route of this level to a Postfix with this certificate."""
        authorities = self.top / "authorities.pem"
        authorities.write_bytes(ROOT.pem)
        tap = self.tap()
        self.mta = self.daemon(
            f'\n[[route]]\nrecipients = ["*@postfix.test"]\nnext_hop = "smtp://127.0.0.1:{tap.port}"\ntls = "{level}"\n'
            f'\n[client.tls]\nca_file = "{authorities}"\n{ours}'
        )
        if issued is not None:
            chain = self._chain(issued)
            more += f"smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {chain}\nsmtpd_tls_loglevel = 1\n"
        postfix = self.postfix(more=more)
        tap.target = postfix.port
        return postfix, tap

    def _chain(self, issued: Issued) -> Path:
        path = self.top / "chain.pem"
        path.write_bytes(issued.key_pem + issued.pem)
        path.chmod(0o600)
        return path

    def _send(self) -> None:
        content = eight_bit("alice@local.test", "dave@postfix.test")
        self.send(self.mta.port, "alice@local.test", "dave@postfix.test", content, mail=("BODY=8BITMIME",))

    def _arrives(self, level: str, issued: Issued | None, tls: str) -> Wiretap:
        postfix, tap = self._pair(level, issued)
        self._send()
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(self.arrived(postfix.received, tap, postfix)))
        eventually(lambda: f'tls="{tls}"' in self.mta.output.read_text(), f"{tls} in the log")
        return tap

    def _is_deferred(self, issued: Issued | None, reason: str, level: str = "verify") -> None:
        postfix, tap = self._pair(level, issued)
        self._send()
        eventually(lambda: " deferred " in self.mta.output.read_text(), "a deferral in the log")
        (line,) = (line for line in self.mta.output.read_text().splitlines() if " deferred " in line)
        self.assertIn(reason, line)
        self.assertIn(f"TLS is demanded (route: {level})", line)
        self.assertEqual([], postfix.received())
        self.assert_client_did_not_say(tap, "MAIL FROM")

    @crossing("Postfix", FROM_US, "STARTTLS")
    def test_levels(self) -> None:
        """With a certificate that we can verify the message goes over TLS; in clear nobody reads a word of it."""
        tap = self._arrives("verify", GOOD, "TLSv1.3 verified (route: verify)")
        self.assert_client_said(tap, "EHLO", "STARTTLS\r\n")
        self.assert_client_did_not_say(tap, "MAIL FROM", "dave@postfix.test")

    @crossing("Postfix", FROM_US, "STARTTLS at may")
    def test_may(self) -> None:
        """At `may` any certificate will do."""
        tap = self._arrives("may", made("nobody"), "TLSv1.3 unverified (route: may)")
        self.assert_client_did_not_say(tap, "MAIL FROM")

    @crossing("Postfix", FROM_US, "no STARTTLS at may")
    def test_not_offered(self) -> None:
        """At `may` a Postfix without a certificate gets the message in clear, and the log says so."""
        tap = self._arrives("may", None, "none (not offered)")
        self.assert_client_said(tap, "MAIL FROM")

    @crossing("Postfix", FROM_US, "STARTTLS stripped at encrypt")
    def test_stripped(self) -> None:
        """At `encrypt` an offer that is taken out on the way is a deferral."""
        self._is_deferred(None, "does not offer STARTTLS", "encrypt")

    @crossing("Postfix", FROM_US, "STARTTLS stripped by a third party")
    def test_downgrade(self) -> None:
        """Somebody takes the offer out on the way: a deferral, and the message goes once that ends; nothing is lost."""
        postfix, tap = self._pair("verify", GOOD)
        meddler = Meddler(postfix.port, (b"250-STARTTLS\r\n", b"250-X-NOTHING\r\n"))
        self.addCleanup(meddler.stop)
        tap.target = meddler.port
        self._send()
        eventually(lambda: " deferred " in self.mta.output.read_text(), "a deferral in the log")
        (line,) = (line for line in self.mta.output.read_text().splitlines() if " deferred " in line)
        self.assertIn("does not offer STARTTLS", line)
        self.assertEqual(["dave@postfix.test"], [row["recipient"] for row in self.mta.queued()])
        tap.target = postfix.port
        self.assertEqual(0, self.mta.mta("queue", "retry", "--all").returncode)
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(self.arrived(postfix.received, tap, postfix)))
        self.assert_client_did_not_say(tap, "MAIL FROM", "dave@postfix.test")
        eventually(lambda: not self.mta.queued(), "an empty queue")

    @crossing("Postfix", FROM_US, "STARTTLS, bad certificates")
    def test_self_signed(self) -> None:
        """A certificate that nobody vouches for is a deferral that says so."""
        self._is_deferred(made("nobody", names=("127.0.0.1",)), "its certificate is self-signed")

    @crossing("Postfix", FROM_US, "STARTTLS, bad certificates")
    def test_expired(self) -> None:
        """An expired certificate is a deferral that says since when."""
        old = made("old", BETWEEN, names=("127.0.0.1",), since=-9 * DAY, until=-2 * DAY)
        self._is_deferred(old, "its certificate expired on ")

    @crossing("Postfix", FROM_US, "STARTTLS, bad certificates")
    def test_truncated_chain(self) -> None:
        """A chain without the intermediate is a deferral that says what is missing."""
        self._is_deferred(Issued(GOOD.certificate, GOOD.key), "the issuer of its certificate is neither in the chain")

    @crossing("Postfix", FROM_US, "STARTTLS, bad certificates")
    def test_wrong_name(self) -> None:
        """A certificate for another host is a deferral that says for whom it is."""
        wrong = made("other", BETWEEN, names=("other.test",))
        self._is_deferred(wrong, "its certificate is for other.test, not for 127.0.0.1")

    @crossing("Postfix", FROM_US, "REQUIRETLS not offered")
    def test_requiretls(self) -> None:
        """A Postfix that does not offer REQUIRETLS hears nothing of a message that requires it, which comes back."""
        own = made("mx.test", BETWEEN, names=("127.0.0.1",))
        pair = self.top / "own.pem", self.top / "own.key"
        for path, pem in zip(pair, (own.pem, own.key_pem), strict=True):
            path.write_bytes(pem)
        words = f'\n[[tls.certificates]]\ncertificate = "{pair[0]}"\nkey = "{pair[1]}"\n'
        postfix, tap = self._pair("encrypt", GOOD, ours=words)
        content = eight_bit("alice@local.test", "dave@postfix.test")
        with self.client(self.mta.port) as client:
            client.starttls(context=ssl.create_default_context(cadata=ROOT.pem.decode()))
            client.sendmail("alice@local.test", ["dave@postfix.test"], content, ["BODY=8BITMIME", "REQUIRETLS"])
        report = self.arrived(lambda: self.mta.mailbox("alice"), tap, postfix)
        self.assert_reported(report, "failed", "dave@postfix.test")
        self.assertIn("Status: 5.7.30\n", report)
        self.assertIn("does not offer REQUIRETLS", " ".join(report.split()))
        self.assertNotIn("Ende", report)
        self.assertEqual([], postfix.received())
        self.assertNotIn("from=<", postfix.told())

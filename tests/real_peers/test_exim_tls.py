"""Exim (GnuTLS) as a server with TLS, for our client. Needs Debian's exim4-daemon-light, and root."""

from __future__ import annotations

import shutil

from tests.end_to_end.daemon import eventually
from tests.peers.certificates import Issued, made
from tests.real_peers.crossing import EIGHT_BIT, FROM_US, RealPeerCase, body, crossing, eight_bit
from tests.real_peers.exim import Exim
from tests.real_peers.wiretap import Wiretap

ROOT = made("test root", is_authority=True)
# The next hop is an address, and so is the name that its certificate must have.
GOOD = made("mail.exim.test", ROOT, names=("127.0.0.1",))
ROUTE = """
[[route]]
recipients = ["*@exim.test"]
next_hop = "smtp://127.0.0.1:{port}"
tls = "{level}"

[client.tls]
ca_file = "{authorities}"
"""


class ToEximTlsTests(RealPeerCase):
    def _pair(self, level: str, issued: Issued) -> tuple[Exim, Wiretap]:
        authorities, pair = self.top / "authorities.pem", self.top / "exim.pem"
        authorities.write_bytes(ROOT.pem)
        pair.write_bytes(issued.key_pem + issued.pem)
        pair.chmod(0o600)
        tap = self.tap()
        self.mta = self.daemon(ROUTE.format(port=tap.port, level=level, authorities=authorities))
        main = f"tls_advertise_hosts = *\ntls_certificate = {pair}\ntls_privatekey = {pair}"
        shutil.chown(pair, "Debian-exim")
        exim = self.peer(Exim(self.top, self.mta.port, main=main))
        tap.target = exim.port
        content = eight_bit("alice@local.test", "dave@exim.test")
        self.send(self.mta.port, "alice@local.test", "dave@exim.test", content, mail=("BODY=8BITMIME",))
        return exim, tap

    @crossing("Exim", FROM_US, "STARTTLS at verify")
    def test_verified(self) -> None:
        """With a certificate that we can verify the message goes over TLS, and nobody in between has read it."""
        exim, tap = self._pair("verify", GOOD)
        message = self.arrived(exim.received, tap, exim)
        self.assertEqual(EIGHT_BIT.replace("\r\n", "\n"), body(message))
        self.assertIn(b"TLS1.3", message)
        self.assert_client_said(tap, "STARTTLS\r\n")
        self.assert_client_did_not_say(tap, "MAIL FROM", "dave@exim.test")
        eventually(lambda: 'tls="TLSv1.3 verified (route: verify)"' in self.mta.output.read_text(), "it in the log")

    @crossing("Exim", FROM_US, "STARTTLS, bad certificates")
    def test_self_signed(self) -> None:
        """A certificate that nobody vouches for is a deferral that says so, and nothing of the message was said."""
        exim, tap = self._pair("verify", made("nobody", names=("127.0.0.1",)))
        eventually(lambda: "its certificate is self-signed" in self.mta.output.read_text(), "the reason in the log")
        self.assertEqual(([], 1), (exim.received(), len(self.mta.queued())))
        self.assert_client_did_not_say(tap, "MAIL FROM", "dave@exim.test")

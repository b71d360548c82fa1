"""TLS and AUTH behind a PROXY header and across XCLIENT: what belongs to the connection, and what to the client."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tests.policy.limits import limits_for_tests
from tests.server.fakes import HOSTNAME, Client, Site, codes
from tests.server.test_login import BAD, GOOD, LoginCase
from tests.server.test_proxied import NAMED, PROXY, UNKNOWN, header
from tests.server.test_tls import EHLO, MESSAGE, TlsCase
from tests.server.tls_client import TlsClient, connect, context, issue, secured, tls_site
from tests.smtp_server.test_proxy_header import V4, v2

V2 = v2(0x21, 0x11, V4 + b"\x04\0\x03abc")
XCLIENT = b"XCLIENT ADDR=203.0.113.7\r\n"
FAR = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<x@far.test>\r\n"
NETWORK = [f"{PROXY}/32"]


class ImplicitTlsTests(TlsCase):
    def site(self, **changed: Any) -> Site:
        return super().site(implicit_tls=True, proxies=NETWORK, **changed)

    def begin(self, site: Site, start: bytes, cut: int) -> TlsClient:
        """A client whose `start` and ClientHello come in two segments."""
        client = TlsClient(site, PROXY)
        client.hello()
        assert client.tls is not None
        with contextlib.suppress(SSL.WantReadError):
            client.tls.do_handshake()
        wire = start + client.pending()
        client.server_hears(wire[:cut])
        client.server_hears(wire[cut:])
        return client

    def test_every_split(self) -> None:
        """The header comes before the handshake (specification 2), however it is cut and whatever comes with it."""
        site = self.site()
        for start in (NAMED, V2):
            for cut in range(len(start) + 8):
                client = self.begin(site, start, cut)
                while not client.handshake():
                    pass
                site.settle()
                self.assertEqual(f"220 {HOSTNAME} ESMTP\r\n".encode(), client.heard(), cut)
                client.say(EHLO)
                client.say(MESSAGE)
                self.assertEqual(["250"], client.codes(b"Subject: hi\r\n\r\nhello\r\n.\r\n"))
                origin = site.spool.committed[-1][1]
                self.assertEqual(("203.0.113.7", "ESMTPS"), (origin.client, origin.protocol))
                self.assertEqual((PROXY, "TLSv1.3"), (origin.details["proxy"], origin.details["tls"]))
                client.vanish()
        self.assertEqual([], [*site.kinds, *site.clock.getDelayedCalls()])

    def test_no_header(self) -> None:
        """A proxy that begins with TLS is dropped: no handshake, not an octet."""
        site = self.site()
        client = self.begin(site, b"", 1)
        self.assertTrue(client.wire.aborted)
        self.assertEqual((b"", ["proxy-refused"]), (client.wire.value(), site.kinds))

    def test_header_within(self) -> None:
        """A second header, within TLS, is talk before the greeting."""
        site = self.site()
        client = connect(site, PROXY)
        client.say(NAMED)
        client.start_tls()
        self.assertEqual(["554"], client.codes(header("10.0.0.1")))

    def test_strangers(self) -> None:
        """Who is no proxy begins with TLS."""
        client = connect(self.site())
        client.start_tls()
        self.assertEqual(["554"], client.codes(NAMED))

    def test_one_too_many(self) -> None:
        """A client that has no place left is told nothing in clear, and the proxy's other clients have theirs."""
        site = self.site(limits=limits_for_tests(connections_per_client=1))
        crowd = [connect(site, PROXY) for _ in range(3)]
        for client, address in zip(crowd, ("203.0.113.1", "203.0.113.1", "203.0.113.2"), strict=True):
            self.assertEqual(b"", client.say(header(address)))
        self.assertEqual([True, False, True], [client.open for client in crowd])

    def test_slow_handshake(self) -> None:
        """Behind the header the time of a handshake begins; the log names both."""
        site = self.site(handshake_timeout=30.0)
        client = connect(site, PROXY)
        client.say(NAMED)
        site.clock.pump([1.0] * 29)
        self.assertTrue(client.open)
        site.clock.pump([1.0] * 2)
        self.assertTrue(client.wire.aborted)
        ((kind, fields),) = site.log
        self.assertEqual(("tls-failed", "203.0.113.7", PROXY), (kind, fields["client"], fields["proxy"]))


class StartTlsTests(TlsCase):
    def test_behind_a_header(self) -> None:
        """STARTTLS works behind a PROXY header as it does without."""
        site = self.site(proxies=NETWORK)
        client = connect(site, PROXY)
        client.say(NAMED)
        site.settle()
        client.heard()
        client.say(EHLO)
        self.assertEqual(["220"], client.codes(b"STARTTLS\r\n"))
        client.start_tls()
        self.assertEqual(["250"], client.codes(EHLO))
        self.assertEqual(["550"], client.codes(FAR)[1:])

    def test_xclient_within(self) -> None:
        """XCLIENT has the session begin anew within the TLS that there is, which can't begin twice."""
        site = self.site(xclient=NETWORK)
        client = secured(site, host=PROXY)
        client.say(EHLO)
        self.assertEqual(f"220 {HOSTNAME} ESMTP\r\n".encode(), client.say(XCLIENT))
        self.assertEqual(["503"], client.codes(b"MAIL FROM:<a@b.test>\r\n"))
        self.assertNotIn(b"STARTTLS", client.say(EHLO))
        self.assertEqual(["503"], client.codes(b"STARTTLS\r\n"))
        client.say(MESSAGE)
        self.assertEqual(["250"], client.codes(b"Subject: hi\r\n\r\nhello\r\n.\r\n"))
        origin = site.spool.committed[0][1]
        self.assertEqual(("203.0.113.7", "ESMTPS"), (origin.client, origin.protocol))
        self.assertEqual((PROXY, "TLSv1.3"), (origin.details["proxy"], origin.details["tls"]))

    def test_xclient_before(self) -> None:
        """What XCLIENT said of the dialogue in clear is forgotten with STARTTLS; whose session it is stays."""
        site = self.site(xclient=NETWORK)
        client = connect(site, PROXY)
        client.say(EHLO)
        self.assertEqual(["220"], client.codes(b"XCLIENT ADDR=10.1.2.3 HELO=far.example PROTO=ESMTP\r\n"))
        self.assertEqual(["220"], client.codes(b"STARTTLS\r\n"))
        client.start_tls()
        self.assertEqual(["503"], client.codes(b"MAIL FROM:<a@b.test>\r\n"))
        client.say(EHLO)
        self.assertEqual(["250", "250"], client.codes(FAR))


class CertificateTests(TlsCase):
    def setUp(self) -> None:
        super().setUp()
        issued = issue("filter.test")
        leaf = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        self.context = context(certificate=issued)
        self.permitted = frozenset([hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest()])

    def relays(self, client: TlsClient) -> bool:
        client.say(EHLO)
        return client.codes(FAR) == ["250", "250"]

    def site(self, **changed: Any) -> Site:
        return tls_site(self.folder, self.permitted, **changed)

    def test_of_the_client(self) -> None:
        """Behind a PROXY header the certificate is the client's, for whom the proxy only passes octets on."""
        for start in (NAMED, UNKNOWN):
            site = self.site(proxies=NETWORK, implicit_tls=True)
            client = connect(site, PROXY)
            client.say(start)
            client.start_tls(self.context)
            site.settle()
            client.heard()
            self.assertTrue(self.relays(client))

    def test_of_the_filter(self) -> None:
        """With XCLIENT it is the filter's, and gives no rights to whom that names, whichever comes first."""
        site = self.site(xclient=NETWORK)
        self.assertTrue(self.relays(secured(site, self.context, PROXY)))
        for named in (XCLIENT, b"XCLIENT NAME=x.example\r\n", b"XCLIENT ADDR=198.51.100.9\r\n"):
            client = secured(site, self.context, PROXY)
            client.say(EHLO)
            self.assertEqual(["220"], client.codes(named))
            self.assertFalse(self.relays(client), named)
            client = connect(site, PROXY)
            client.say(EHLO)
            client.say(named)
            client.say(EHLO)
            client.say(b"STARTTLS\r\n")
            client.start_tls(self.context)
            self.assertFalse(self.relays(client), named)


class LoginTests(LoginCase):
    """Who logs in is the client, and who guesses, too."""

    def proxied(self, site: Site, client: str) -> Client:
        entered = Client(site, PROXY)
        entered.say(header(client))
        site.settle()
        entered.say(EHLO)
        return entered

    def named(self, site: Site, client: str) -> Client:
        entered = site.hello(PROXY)
        self.assertEqual(["220"], entered.codes(f"XCLIENT ADDR={client}\r\n".encode()))
        entered.say(EHLO)
        return entered

    def test_forgotten(self) -> None:
        """XCLIENT forgets who has logged in: whom it names has to do so itself."""
        site = self.site(xclient=NETWORK)
        client = site.hello(PROXY)
        self.assertEqual(["235"], client.codes(GOOD))
        self.assertEqual(["220"], client.codes(b"XCLIENT NAME=far.example HELO=far.example PROTO=ESMTP\r\n"))
        self.assertEqual(["530"], client.codes(b"MAIL FROM:<alice@local.test>\r\n"))
        self.assertIn(b"AUTH ", client.say(EHLO))
        self.assertEqual(["235"], client.codes(GOOD))
        self.assertEqual(["250", "250"], client.codes(FAR.replace(b"a@b.test", b"alice@local.test")))

    def test_login_attribute(self) -> None:
        """LOGIN gives no rights."""
        site = self.site(xclient=NETWORK)
        client = site.hello(PROXY)
        client.say(b"XCLIENT ADDR=203.0.113.7 LOGIN=alice HELO=x PROTO=ESMTP\r\n")
        self.assertEqual(["530"], client.codes(b"MAIL FROM:<alice@local.test>\r\n"))

    def test_within_an_exchange(self) -> None:
        """Within AUTH it is a response, a wrong one, and the client stays who it was."""
        site = self.site(xclient=NETWORK)
        client = site.hello(PROXY)
        self.assertEqual(["334"], client.codes(b"AUTH LOGIN\r\n"))
        self.assertEqual(["501"], client.codes(XCLIENT))
        self.assertEqual(PROXY, site.log[-1][1]["client"])

    def test_failures(self) -> None:
        """Failures count for the client that was named, over connections and proxies; others are not blocked by it."""
        for enter in (self.proxied, self.named):
            site = self.site(proxies=NETWORK if enter == self.proxied else (), xclient=NETWORK)
            for _ in range(3):
                self.assertEqual(["535"], self.failure(site, enter(site, "203.0.113.7")))
            self.assertEqual(["454"], enter(site, "203.0.113.7").codes(GOOD))
            self.assertEqual(["454"], site.hello("203.0.113.7").codes(GOOD))
            self.assertEqual(["235"], enter(site, "203.0.113.8").codes(GOOD))
            for kind, fields in site.log:
                if kind == "auth-failed":
                    self.assertEqual(("203.0.113.7", PROXY), (fields["client"], fields["proxy"]))
            self.assertEqual(3, site.kinds.count("auth-failed"))

    def test_failures_before(self) -> None:
        """Failures on a connection are of the client that it was then, and not of whom XCLIENT names behind them."""
        site = self.site(xclient=NETWORK, failures=1)
        client = site.hello(PROXY)
        self.failure(site, client, BAD)
        self.assertEqual(["220"], client.codes(XCLIENT))
        client.say(EHLO)
        self.assertEqual(["235"], client.codes(GOOD))
        self.assertEqual(["454"], codes(site.hello(PROXY).say(GOOD)))

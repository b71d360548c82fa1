"""Our own policy over HTTPS: asked for in memory, by our own fetcher over TLS, and at the bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor, ssl
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mta.config.loading import ConfigError, parse
from mta.daemon.publishing import Publishing
from mta.daemon.starting import StartError
from mta.dns.fake import FakeResolver
from mta.sts_policy import Mode, own_policy
from mta.tls import sts_site
from mta.tls.contexts import Terms
from mta.tls.server import ServerTls
from mta.tls.sts_fetch import WEBPKI_INVALID, FetchError, StsFetcher
from mta.tls.sts_site import MAX_CONNECTIONS, TIMEOUT, PolicyServer, PolicySite
from tests.server.tls_client import authority, issue, write

REACTOR = cast(Any, reactor)
POLICY = own_policy(Mode.ENFORCE, ("mx.a.test", "*.b.test"), 86_400)
ASKED = b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.a.test\r\n\r\n"
BASE = """
hostname = "mx.test"
[[listener]]
name = "mx"
endpoint = "tcp:25"
role = "mx"
[local]
domains = ["a.test"]
[relay]
domains = ["b.test", ".c.test"]
[sts.policy]
serve = "tcp:0:interface=127.0.0.1"
mode = "enforce"
mx = ["mx.a.test"]
"""


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.site = PolicySite(["a.test", "b.test"], POLICY.text(), self.clock)

    def connect(self) -> tuple[Any, StringTransport]:
        channel: Any = self.site.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        transport = StringTransport()
        channel.makeConnection(transport)
        return channel, transport

    def ask(self, request: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
        """The status line, the header and the body of the answer."""
        channel, transport = self.connect()
        channel.dataReceived(request)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in lines)
        return status, fields, body

    def test_policy(self) -> None:
        """GET has the policy as text/plain with its length, HEAD the same without it; cut anywhere it is the same."""
        status, fields, body = self.ask(ASKED)
        self.assertEqual((b"HTTP/1.1 200 OK", POLICY.text().encode()), (status, body))
        self.assertEqual(b"text/plain; charset=utf-8", fields[b"content-type"])
        self.assertEqual(b"%d" % len(body), fields[b"content-length"])
        self.assertEqual(b"mta", fields[b"server"])
        self.assertEqual((status, fields, b""), self.ask(ASKED.replace(b"GET", b"HEAD")))
        for cut in range(len(ASKED)):
            channel, transport = self.connect()
            for piece in (ASKED[:cut], ASKED[cut:]):
                channel.dataReceived(piece)
            self.assertTrue(transport.value().endswith(b"\r\n\r\n" + body))

    def test_hosts(self) -> None:
        """Each domain has its host, in any case, with a port or a final dot; any other host has nothing."""
        for host, found in (
            (b"mta-sts.b.test", True),
            (b"MTA-STS.A.test:443", True),
            (b"mta-sts.a.test.", True),
            (b"a.test", False),
            (b"mta-sts.mta-sts.a.test", False),
            (b"mta-sts.c.test", False),
            (b"192.0.2.1", False),
            (b"\xff", False),
            (b"", False),
        ):
            status, _, body = self.ask(ASKED.replace(b"mta-sts.a.test", host))
            self.assertEqual(found, status == b"HTTP/1.1 200 OK", (host, status))
            self.assertNotIn(host or b"xyz", body)

    def test_other_requests(self) -> None:
        """Another path is 404, another method 405 with those that there are; a body is read past."""
        for path in (b"/", b"/.well-known/", b"/.well-known/mta-sts.txt/", b"/.well-known/../.well-known/mta-sts.txt"):
            self.assertIn(b" 404 ", self.ask(ASKED.replace(b"/.well-known/mta-sts.txt", path))[0], path)
        length = b"Content-Length: 200000\r\n\r\n"
        posted = ASKED.replace(b"GET", b"POST").removesuffix(b"\r\n") + length + b"x" * 200_000
        status, fields, _ = self.ask(posted)
        self.assertEqual((b"HTTP/1.1 405 Method Not Allowed", b"get, head"), (status, fields[b"allow"]))
        self.assertIn(b" 405 ", self.ask(ASKED.replace(b"GET", b"TRACE"))[0])

    def test_garbage(self) -> None:
        """What is no HTTP is disconnected, with nothing raised."""
        for garbage in (b"\r\n\r\n\r\n", b"EHLO x\r\n", b"\0" * 100 + b"\r\n", b"GET " + b"x" * 70_000):
            channel, transport = self.connect()
            channel.dataReceived(garbage)
            self.assertTrue(transport.disconnecting or not transport.value(), garbage[:10])
            self.assertNotIn(b"200", transport.value())
        self.assertEqual([], self.flushLoggedErrors())

    def test_silence(self) -> None:
        """Who says nothing is disconnected after a while."""
        _, transport = self.connect()
        self.clock.advance(TIMEOUT - 1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(transport.disconnecting)


class PublishingTests(TestCase):
    """The site on a real socket, and those who ask."""

    timeout = 10

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()

    def config(self, *names: str) -> Any:
        files = write(self.folder, issue(*names))
        pair = f"[[tls.certificates]]\ncertificate = '{files.certificate}'\nkey = '{files.key}'\n"
        text = f"state_dir = '{self.folder}'\n{BASE}{pair}"
        return parse(text, "f", {})

    def published(self, *names: str) -> Publishing:
        publishing = Publishing(self.config(*names), REACTOR)
        self.addCleanup(publishing.close)
        return publishing

    def fetcher(self, publishing: Publishing, domain: str = "a.test") -> StsFetcher:
        assert publishing.port is not None
        resolver = FakeResolver({(f"mta-sts.{domain}", "A"): ["127.0.0.1"]})
        root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority().cert_pem.bytes())])
        port = cast(IPv4Address, publishing.port.getHost()).port
        return StsFetcher(reactor=REACTOR, resolver=resolver, trust_root=root, port=port)

    async def test_fetched(self) -> None:
        """Our own fetcher takes the policy of each domain, and finds what `mta dns` has the operator announce."""
        publishing = self.published("mx.test", "mta-sts.a.test", "mta-sts.b.test")
        for domain in ("a.test", "b.test"):
            policy = await self.fetcher(publishing, domain).fetch(domain, "7")
            self.assertEqual((Mode.ENFORCE, ("mx.a.test",), 604_800), (policy.mode, policy.mx, policy.max_age))

    async def test_name(self) -> None:
        """A certificate without the name of the policy host gives nobody a policy."""
        publishing = self.published("mx.test")
        try:
            found = await self.fetcher(publishing).fetch("a.test", "7")
        except FetchError as error:
            self.assertEqual(WEBPKI_INVALID, error.result)
        else:
            self.fail(f"fetched {found}")

    async def test_changed(self) -> None:
        """A new configuration changes the policy on the same port; one with bad ciphers changes nothing."""
        publishing = self.published("mta-sts.a.test")
        config = self.config("mta-sts.a.test")
        policy = config.sts.policy.model_copy(update={"mode": "testing"})
        changed = config.model_copy(update={"sts": config.sts.model_copy(update={"policy": policy})})
        bad = changed.model_copy(update={"tls": config.tls.model_copy(update={"ciphers": "NOSUCH"})})
        self.assertRaises(StartError, publishing.change_to, bad)
        self.assertEqual(Mode.ENFORCE, (await self.fetcher(publishing).fetch("a.test", "7")).mode)
        publishing.change_to(changed)
        self.assertEqual(Mode.TESTING, (await self.fetcher(publishing).fetch("a.test", "7")).mode)

    def test_port_in_use(self) -> None:
        """A port that is in use is an error that names the option."""
        port = REACTOR.listenTCP(0, sts_site.PolicySite([], "", REACTOR), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        config = self.config("mta-sts.a.test")
        endpoint = f"tcp:{port.getHost().port}:interface=127.0.0.1"
        policy = config.sts.policy.model_copy(update={"serve": endpoint})
        config = config.model_copy(update={"sts": config.sts.model_copy(update={"policy": policy})})
        error = self.assertRaises(StartError, Publishing, config, REACTOR)
        self.assertIn(f"sts.policy.serve: cannot listen on {endpoint}", str(error))

    def test_nothing(self) -> None:
        """Without the option there is no port."""
        config = self.config("mta-sts.a.test")
        policy = config.sts.policy.model_copy(update={"serve": ""})
        config = config.model_copy(update={"sts": config.sts.model_copy(update={"policy": policy})})
        self.assertIsNone(Publishing(config, REACTOR).port)


class TcpTransport(StringTransport):
    """A transport that twisted.web can ask not to wait."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is nothing that waits."""


class BoundTests(SynchronousTestCase):
    def server(self, *, good: bool = True) -> PolicyServer:
        files = write(Path(self.mktemp()), issue("mta-sts.a.test"))
        if not good:
            files.key.write_bytes(b"")
        clock = Clock()
        tls = ServerTls([files], Terms("1.2", "ECDHE+AESGCM"), frozenset(), clock.seconds)
        return PolicyServer(PolicySite(["a.test"], POLICY.text(), clock), tls, clock)

    def test_connections(self) -> None:
        """So many clients at once and no more; one that goes makes room."""
        server = self.server()
        address = IPv4Address("TCP", "192.0.2.1", 1)
        protocols = []
        for _ in range(MAX_CONNECTIONS):
            protocol = server.buildProtocol(address)
            assert protocol is not None
            protocol.makeConnection(TcpTransport())
            protocols.append(protocol)
        self.assertIsNone(server.buildProtocol(address))
        protocols[0].connectionLost(Failure(ConnectionLost()))
        self.assertIsNotNone(server.buildProtocol(address))

    def test_no_certificate(self) -> None:
        """While no certificate can be used nobody is let in."""
        self.assertIsNone(self.server(good=False).buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)))


class OptionTests(SynchronousTestCase):
    def test_contradictions(self) -> None:
        """Without certificates, without a domain, or on the port of a listener it is an error of its line."""
        pair = "[[tls.certificates]]\ncertificate = 'a'\nkey = 'b'\n"
        self.assertEqual(("a.test", "b.test"), parse(BASE + pair, "f", {}).policy_domains)
        for text, told in (
            (BASE, "f:12: sts.policy.serve: the policy is served over HTTPS, and there are no tls.certificates"),
            (BASE.replace('domains = ["a.test"]', "").replace('"b.test", ', "") + pair, "nobody to serve it for"),
            (BASE.replace("tcp:0:interface=127.0.0.1", "tcp:25") + pair, "is that of listener 1 already"),
            (BASE.replace("tcp:0:interface=127.0.0.1", "443") + pair, "is not an endpoint"),
        ):
            self.assertIn(told, str(self.assertRaises(ConfigError, parse, text, "f", {})))

"""The fetch of a policy, over real sockets and TLS on loopback, from a web server with a test CA."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import trustme
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseDone

from mta.dns.fake import FakeResolver
from mta.sts_policy import Mode, StsPolicy
from mta.tls.https import MAX_ADDRESSES
from mta.tls.https_connection import BodyReader, trusted
from mta.tls.sts_fetch import FETCH_ERROR, INVALID, MAX_RECEIVED, WEBPKI_INVALID, FetchError, StsFetcher
from mta.tls.sts_text import MAX_POLICY
from tests.tls.web_server import POLICY, Plain, WebServer, issued, response, self_signed

REACTOR = cast(Any, reactor)
CA = trustme.CA()
HOST = "mta-sts.example.test"
GOOD = CA.issue_cert(HOST)
EXPECTED = StsPolicy(Mode.ENFORCE, ("mx.example.test", "*.example.test"), 604_800, "7")
# Padding that the grammar allows.
LINE = b"x: " + b"y" * 60 + b"\n"


class RealNetwork:
    """The real reactor with a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seconds = self.clock.seconds

    def callLater(self, delay: float, call: Any, *arguments: Any) -> Any:
        # "In the next turn" waits for no time: TLS gathers what it writes until then.
        return (self.clock if delay else REACTOR).callLater(delay, call, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(REACTOR, name)


def ticked() -> Deferred[None]:
    """One turn of the reactor, and a moment for the network."""
    return deferLater(REACTOR, 0.01, lambda: None)


class FetchCase(TestCase):
    """A web server, and a fetcher that finds it."""

    timeout = 5

    def setUp(self) -> None:
        self.network = RealNetwork()
        self.resolver = FakeResolver({(HOST, "A"): ["127.0.0.1"]})

    def serve(self, answer: bytes = b"", certificate: trustme.LeafCert | bytes = GOOD) -> WebServer:
        server = WebServer(REACTOR, certificate)
        self.addCleanup(server.stop)
        server.answer = answer or server.answer
        return server

    def listen(self, server: Plain) -> int:
        """The port on which somebody speaks another language."""
        listening = REACTOR.listenTCP(0, Factory.forProtocol(lambda: server), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        port: int = listening.getHost().port
        return port

    def fetcher(self, port: int) -> StsFetcher:
        root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(CA.cert_pem.bytes())])
        return StsFetcher(reactor=self.network, resolver=self.resolver, trust_root=root, port=port)

    async def fetched(self, server: WebServer) -> StsPolicy:
        """What is fetched; the connection has ended then."""
        try:
            return await self.fetcher(server.port).fetch("example.test", "7")
        finally:
            if server.connections:
                await server.when_lost
            self.assertEqual([], self.network.clock.getDelayedCalls())

    async def assert_fails(self, server: WebServer, result: str, *words: str) -> None:
        try:
            found = await self.fetched(server)
        except FetchError as error:
            for word in words:
                self.assertIn(word, str(error))
            self.assertEqual(result, error.result)
            self.assertTrue(str(error).isprintable())
        else:
            self.fail(f"fetched {found}")


class GoodTests(FetchCase):
    async def test_request(self) -> None:
        """One GET to mta-sts.DOMAIN, and the policy comes back with the id that was asked for."""
        server = self.serve()
        self.assertEqual(EXPECTED, await self.fetched(server))
        (request,) = server.requests
        self.assertTrue(request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"))
        self.assertIn(b"Host: mta-sts.example.test", request)
        self.assertNotIn(b"Accept-Encoding", request)

    async def test_forms_of_the_answer(self) -> None:
        """Parameters of the type, chunks, an answer without length, the largest policy: all are fine (RFC 8461 3.3)."""
        full = POLICY + LINE * ((MAX_POLICY - len(POLICY)) // len(LINE))
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (POLICY[:20], POLICY[20:])) + b"0\r\n\r\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Plain ; charset=utf-8\r\n"
        for answer, closes in (
            (response(content_type="text/plain;charset=UTF-8"), False),
            (response(full), False),
            (head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked, False),
            (head + b"\r\n" + POLICY, True),
            (head.replace(b"1.1", b"1.0") + b"\r\n" + POLICY, True),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + response(), False),
        ):
            server = self.serve(answer)
            server.closes = closes
            self.assertEqual(EXPECTED, await self.fetched(server), answer[:80])

    async def test_wildcard_certificate(self) -> None:
        """RFC 8461 3.3: a certificate for all names of the domain will do."""
        server = self.serve(certificate=CA.issue_cert("*.example.test"))
        self.assertEqual(EXPECTED, await self.fetched(server))

    async def test_next_address(self) -> None:
        """Where one address is dead the next is asked."""
        self.resolver.set(HOST, "AAAA", ["::1"])
        self.assertEqual(EXPECTED, await self.fetched(self.serve()))


class CertificateTests(FetchCase):
    """RFC 8461 3.3: the certificate is valid, for the name of the policy host, and leads to a CA that is trusted."""

    async def test_table(self) -> None:
        """Any fault of the certificate is one of the Web PKI, and nothing is asked of that server."""
        for certificate, words in (
            (issued(CA, HOST, -30, -1), "the certificate has expired"),
            (issued(CA, HOST, 1, 30), "not yet valid"),
            (trustme.CA().issue_cert(HOST), "leads to a CA that is not"),
            (self_signed(HOST), "the certificate is self-signed"),
            (CA.issue_cert("example.test"), "another name"),
            (CA.issue_cert("mta-sts.other.test"), "another name"),
            (CA.issue_cert("*.mta-sts.example.test"), "another name"),
            (CA.issue_cert("127.0.0.1"), "another name"),
            (CA.issue_cert("other.test", common_name=HOST), "another name"),
        ):
            server = self.serve(certificate=certificate)
            await self.assert_fails(server, WEBPKI_INVALID, HOST, words)
            self.assertEqual([], server.requests)

    async def test_no_tls(self) -> None:
        """A server that does not speak TLS has no policy for us."""
        server = Plain()
        server.word = response()
        with self.assertRaises(FetchError) as caught:
            await self.fetcher(self.listen(server)).fetch("example.test", "7")
        self.assertEqual(FETCH_ERROR, caught.exception.result)
        await server.lost


class BadAnswerTests(FetchCase):
    async def test_table(self) -> None:
        """Each answer that is no policy fails with its reason."""
        moved = ("Location: https://mta-sts.example.test/other",)
        for answer, result, words in (
            (response(status="301 Moved", more=moved), FETCH_ERROR, "301 (redirects are not followed)"),
            (response(status="302 Found", more=moved), FETCH_ERROR, "302"),
            (response(status="404 Not Found"), FETCH_ERROR, "answered 404"),
            (response(status="500 Broken"), FETCH_ERROR, "500"),
            (response(status="203 Transformed"), FETCH_ERROR, "203"),
            (response(content_type="text/html"), INVALID, "'text/html'"),
            (response(content_type="text/plain-ish"), INVALID, "text/plain is due"),
            (response(more=("Content-Type: text/html",)), INVALID, "text/html"),
            (response().replace(b"Content-Type: text/plain\r\n", b""), INVALID, "''"),
            (response(b"<html>"), INVALID, "line 1"),
            (response(b""), INVALID, "no version"),
            (b"SSH-2.0-OpenSSH\r\n\r\n", FETCH_ERROR, "request failed"),
            (b"HTTP/1.1 abc OK\r\n\r\n", FETCH_ERROR, "request failed"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: x\r\nContent-Type: text/plain\r\n\r\n",
                FETCH_ERROR,
                "request failed",
            ),
        ):
            server = self.serve(answer)
            server.closes = True
            await self.assert_fails(server, result, HOST, words)
            self.assertEqual(1, len(server.requests))

    async def test_cut(self) -> None:
        """A body that ends before its length, or in the middle of a chunk, is no shorter policy."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        for answer in (response()[:-1], head + b"%x\r\n%s\r\n" % (len(POLICY), POLICY), response()[:30]):
            server = self.serve(answer)
            server.closes = True
            await self.assert_fails(server, FETCH_ERROR, "request failed")


class LimitTests(FetchCase):
    async def test_announced(self) -> None:
        """A length over 64 KiB is enough to leave."""
        large = response(POLICY + LINE * (MAX_POLICY // len(LINE)))
        await self.assert_fails(self.serve(large[:400]), INVALID, "65536 octets")

    async def test_endless(self) -> None:
        """The limit holds while the body is read, without a length, in chunks, and in a header without end."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
        for answer, endless in (
            (head + b"\r\n" + POLICY, LINE * 100),
            (head + b"Transfer-Encoding: chunked\r\n\r\n", b"1770\r\n" + b"a" * 6000 + b"\r\n"),
            (head + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 900 + b"\r\na\r\n"),
            (head, b"X-More: " + b"m" * 1000 + b"\r\n"),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 200),
        ):
            server = self.serve(answer + b"")
            server.answer = answer
            server.endless = endless
            await self.assert_fails(server, INVALID, "65536 octets")
            self.assertLess(server.poured, 100 * MAX_RECEIVED)

    async def test_slow(self) -> None:
        """A minute for all of it: whatever a server waits with, its connection is cut then."""
        for answer in (b"", response()[:20], response()[:-1]):
            server = self.serve()
            server.answer = answer
            fetching = Deferred.fromCoroutine(self.fetched(server))
            while not server.requests:
                await ticked()
            await ticked()
            self.network.clock.advance(59.9)
            self.assertNoResult(fetching)
            self.network.clock.advance(0.2)
            with self.assertRaises(FetchError) as caught:
                await fetching
            self.assertIn("within 60 s", str(caught.exception))

    async def test_silent_handshake(self) -> None:
        """The same for a server that never begins with TLS."""
        silent = Plain()
        fetching = Deferred.fromCoroutine(self.fetcher(self.listen(silent)).fetch("example.test", "7"))
        while not silent.spoken:
            await ticked()
        self.network.clock.advance(61)
        with self.assertRaises(FetchError):
            await fetching
        await silent.lost


class AddressTests(FetchCase):
    async def test_nobody_listens(self) -> None:
        """A host that can't be reached is named with its last address."""
        server = self.serve()
        await server.stop()
        await self.assert_fails(server, FETCH_ERROR, f"{HOST}[127.0.0.1]: cannot connect")

    async def test_no_address(self) -> None:
        """A policy host without address, or that can't be looked up, is no policy."""
        self.resolver.forget(HOST, "A")
        await self.assert_fails(self.serve(), FETCH_ERROR, "no address", "does not exist")
        self.resolver.fail(HOST, "A", "SERVFAIL")
        await self.assert_fails(self.serve(), FETCH_ERROR, "no address", "SERVFAIL")

    async def test_few_addresses(self) -> None:
        """Of a hundred addresses few are tried."""
        tried: list[str] = []
        self.resolver.set(HOST, "A", [f"127.0.1.{number}" for number in range(100)])
        server = self.serve()
        await server.stop()

        def connect(host: str, *rest: Any, **options: Any) -> Any:
            tried.append(host)
            return REACTOR.connectTCP(host, *rest, **options)

        self.network.connectTCP = connect  # type: ignore[attr-defined]
        await self.assert_fails(server, FETCH_ERROR, "cannot connect")
        self.assertEqual(MAX_ADDRESSES, len(tried))


class TrustTests(SynchronousTestCase):
    def test_file(self) -> None:
        """The CAs are those of a file with any number of certificates, or the system's; a bad file says so."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ca.pem"
            path.write_bytes(CA.cert_pem.bytes() + b"a comment\n" + trustme.CA().cert_pem.bytes())
            self.assertIsNotNone(trusted(str(path)))
            for content, reason in (
                (b"", "no certificate"),
                (b"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----", "can't be read"),
            ):
                path.write_bytes(content)
                self.assertIn(reason, str(self.assertRaises(ValueError, trusted, str(path))))
            path.unlink()
            self.assertRaises(OSError, trusted, str(path))
        self.assertIsNotNone(trusted(""))


class BodyTests(SynchronousTestCase):
    def read(self, pieces: list[bytes], limit: int) -> tuple[bytes | None, int]:
        """The body, or None where it is too large; and how often the connection was ended."""
        ended: list[None] = []
        reader = BodyReader(limit, lambda: ended.append(None))
        for piece in pieces:
            reader.dataReceived(piece)
        reader.connectionLost(Failure(ResponseDone()))
        return self.successResultOf(reader.body), len(ended)

    def test_every_split(self) -> None:
        """However the network cuts a body, the same comes out, and the limit is the same octet."""
        for cut in range(len(POLICY) + 1):
            pieces = [POLICY[:cut], POLICY[cut:]]
            self.assertEqual((POLICY, 0), self.read(pieces, len(POLICY)))
            self.assertEqual((None, 1), self.read([*pieces, b""], len(POLICY) - 1))
        self.assertEqual((POLICY, 0), self.read([bytes([octet]) for octet in POLICY], len(POLICY)))

    def test_nothing_is_kept_beyond_the_limit(self) -> None:
        """What comes behind the limit ends the connection once, and is dropped."""
        found, ended = self.read([b"a" * 10] * 1000, 25)
        self.assertIsNone(found)
        self.assertGreaterEqual(ended, 1)

"""Requests over HTTPS to a web server on loopback, with a test CA."""

from __future__ import annotations

from typing import Any, cast

import trustme
from twisted.internet import reactor, ssl
from twisted.trial.unittest import TestCase

from mta.dns.fake import FakeResolver
from mta.tls.https import Https
from mta.web import WebError, WebFault, WebRequest
from tests.tls.web_server import WebServer, response

REACTOR = cast(Any, reactor)
CA = trustme.CA()


class HttpsCase(TestCase):
    timeout = 5

    def setUp(self) -> None:
        self.resolver = FakeResolver({("id.test", "A"): ["127.0.0.1"]})
        root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(CA.cert_pem.bytes())])
        self.https = Https(reactor=REACTOR, resolver=self.resolver, trust_root=root)

    def serve(self, *names: str) -> WebServer:
        server = WebServer(REACTOR, CA.issue_cert(*names))
        self.addCleanup(server.stop)
        return server


class RequestTests(HttpsCase):
    async def test_post(self) -> None:
        """Method, header fields and body go out as they were given, and the answer comes back whole."""
        server = self.serve("id.test")
        server.body = 9
        server.answer = response(b"{}", status="503 Busy", content_type="Application/JSON; charset=utf-8")
        url = f"https://id.test:{server.port}/introspect"
        answer = await self.https.ask(WebRequest(url, "POST", (("X-Secret", "hush"),), b"token=abc"))
        self.assertEqual((503, "application/json", b"{}"), (answer.status, answer.media_type, answer.body))
        (request,) = server.requests
        self.assertTrue(request.startswith(b"POST /introspect HTTP/1.1\r\n"), request)
        self.assertIn(b"X-Secret: hush\r\n", request)
        self.assertIn(b"Content-Length: 9\r\n", request)
        self.assertTrue(request.endswith(b"\r\n\r\ntoken=abc"))

    async def test_address(self) -> None:
        """A URL may have an address, which the certificate is for; one for a name is for somebody else."""
        server = self.serve("127.0.0.1")
        self.assertEqual(200, (await self.https.ask(WebRequest(f"https://127.0.0.1:{server.port}/"))).status)
        other = self.serve("id.test")
        with self.assertRaises(WebError) as caught:
            await self.https.ask(WebRequest(f"https://127.0.0.1:{other.port}/"))
        self.assertEqual(WebFault.CERTIFICATE, caught.exception.fault)
        self.assertEqual([], other.requests)

    async def test_limit(self) -> None:
        """An answer of more octets than the request allows is none, and one octet less is fine."""
        server = self.serve("id.test")
        server.answer = response(b"a" * 100)
        url = f"https://id.test:{server.port}/"
        self.assertEqual(b"a" * 100, (await self.https.ask(WebRequest(url, limit=100))).body)
        with self.assertRaises(WebError) as caught:
            await self.https.ask(WebRequest(url, limit=99))
        self.assertEqual(WebFault.TOO_LARGE, caught.exception.fault)

    def test_secrets_stay_out_of_reprs(self) -> None:
        """A request that stands in a traceback tells its URL, and nothing that authenticates."""
        shown = repr(WebRequest("https://id.test/", "POST", (("Authorization", "hush"),), b"token=hush"))
        self.assertNotIn("hush", shown)

"""Delivering to web servers."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

import trustme
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mta.address import Address
from mta.delivery.post import Hook, PostAgent, judge_answer
from mta.destination import Destination, NextHop, Transport
from mta.dns.fake import FakeResolver
from mta.entry import Delivery
from mta.envelope import Envelope, Recipient, RequireTls
from mta.outcome import Deferral, Failure, Outcome, Scope
from mta.tls.https import Https
from mta.web import WebAnswer, WebError, WebFault
from mta.webhook import key_of, signed
from tests.delivery.fake_web import FakeWeb
from tests.delivery.material import ONE, SENDER, TEXT, TWO, Content, delivery, marked
from tests.smtp_client.dialogue import brief
from tests.tls.web_server import WebServer, response

T = TypeVar("T")
PLACE = Destination(NextHop(Transport.HTTPS, "//x.test/in"), "https://x.test")
URL = "https://x.test/in"
KEY = bytes(range(32))


def at_once(work: Callable[[], T]) -> Deferred[T]:
    return maybeDeferred(work)


class PostTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.web = FakeWeb()
        self.clock = Clock()
        self.clock.rightNow = 1_700_000_100.9

    def outcome(self, hook: Hook | None = None, what: Delivery | None = None) -> Outcome:
        agent = PostAgent({URL: hook} if hook else {}, web=self.web, clock=self.clock, run_in_thread=at_once)
        return self.successResultOf(agent.deliver(what or delivery(PLACE)))[ONE]

    def test_raw(self) -> None:
        """The message goes out to the octet, with its envelope in the header."""
        envelope = Envelope(None, (Recipient(ONE, named="all@to.test"),))
        for content in (Content(), Content(TEXT, 7)):
            what = Delivery(1, 1_700_000_000.0, envelope, content, PLACE, marked)
            self.assertEqual("delivered", brief(self.outcome(what=what)))
            request = self.web.requests.pop()
            fields = dict(request.headers)
            self.assertEqual(("POST", URL, TEXT), (request.method, request.url, request.body))
            self.assertEqual(("message/rfc822", "<>"), (fields["Content-Type"], fields["X-MTA-Sender"]))
            self.assertEqual(
                ("<one@to.test>", "<all@to.test>"), (fields["X-MTA-Recipient"], fields["X-MTA-Original-Recipient"])
            )

    def test_json(self) -> None:
        """The envelope and the parts of the message, as an event of Standard Webhooks."""
        self.assertEqual("delivered", brief(self.outcome(Hook("json"))))
        (request,) = self.web.requests
        event = json.loads(request.body)
        self.assertEqual(("mail.received", "2023-11-14T22:13:20Z"), (event["type"], event["timestamp"]))
        data = event["data"]
        self.assertEqual(
            ["sender@from.test", "one@to.test", "one@to.test", "hello", ".dot\nbody\n", len(TEXT)],
            [data[key] for key in ("sender", "recipient", "original_recipient", "subject", "text", "size")],
        )

    def test_signed(self) -> None:
        """A receiver with either of two secrets can verify body, id and time; a retry has the same id."""
        old = bytes(24)
        for now in (1_700_000_100, 1_700_000_400):
            self.clock.rightNow = now + 0.5
            self.outcome(Hook("raw", (KEY, old)))
        first, second = (dict(request.headers) for request in self.web.requests)
        self.assertEqual(first["webhook-id"], second["webhook-id"])
        self.assertEqual(("1700000100", "1700000400"), (first["webhook-timestamp"], second["webhook-timestamp"]))
        for fields in (first, second):
            content = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + TEXT
            for key, signature in zip((KEY, old), fields["webhook-signature"].split(), strict=True):
                expected = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
                self.assertEqual(f"v1,{expected}", signature)

    def test_example(self) -> None:
        """The example of the specification's libraries."""
        key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        fields = dict(signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}', (key,)))
        self.assertEqual("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", fields["webhook-signature"])

    def test_secrets(self) -> None:
        """A secret of another form is refused, and not told."""
        for secret in ("", "whsec_", "whsec_x", f"whsec_{base64.b64encode(bytes(23)).decode()}", "hush" * 10):
            with self.assertRaises(ValueError) as caught:
                key_of(secret)
            self.assertNotIn("hush", str(caught.exception))

    def test_one_each(self) -> None:
        """Each recipient has a request and an id of his own."""
        agent = PostAgent({}, web=self.web, clock=self.clock, run_in_thread=at_once)
        self.successResultOf(agent.deliver(delivery(PLACE, (ONE, TWO))))
        self.assertEqual(2, len({dict(request.headers)["webhook-id"] for request in self.web.requests}))

    def test_statuses(self) -> None:
        """2xx is delivered; 4xx fails but for those that may pass; all else is tried again, redirects too."""
        for status, expected in (
            (200, "delivered"),
            (204, "delivered"),
            (301, "deferral 4.3.0 message"),
            (400, "failure 5.6.0"),
            (401, "deferral 4.3.0 message"),
            (403, "failure 5.6.0"),
            (404, "failure 5.6.0"),
            (408, "deferral 4.3.0 message"),
            (410, "failure 5.6.0"),
            (425, "deferral 4.3.0 message"),
            (429, "deferral 4.3.2 site"),
            (500, "deferral 4.3.0 message"),
            (503, "deferral 4.3.2 site"),
            (999, "deferral 4.3.0 message"),
        ):
            self.assertEqual(expected, brief(judge_answer(WebAnswer(status, (), b""), "https://x.test")), status)

    def test_words(self) -> None:
        """What the server says stands in the reason, without what could forge a line; the path of the URL does not."""
        self.web.answer = WebAnswer(422, (), b"no such\r\nticket\x1b")
        outcome = self.outcome()
        assert isinstance(outcome, Failure)
        self.assertEqual("https://x.test answered 422: no such / ticket?", outcome.reason)

    def test_no_answer(self) -> None:
        """A server that can't be reached holds up its site; a bug of ours is told as such."""
        for error, expected in (
            (WebError("x.test: no whole answer within 60 s"), "deferral 4.4.1 site"),
            (WebError("x.test: the certificate has expired", WebFault.CERTIFICATE), "deferral 4.4.1 site"),
            (WebError("x.test: too much", WebFault.TOO_LARGE), "deferral 4.4.1 message"),
            (KeyError("x"), "deferral 4.3.0 ourselves"),
        ):
            self.web.answer = error
            self.assertEqual(expected, brief(self.outcome()))

    def test_too_large(self) -> None:
        """A message above the operator's limit fails, and is not read."""
        what = delivery(PLACE, content=Content(TEXT, 5))
        self.assertEqual("failure 5.3.4", brief(self.outcome(Hook(message_size=len(TEXT) - 1), what)))
        self.assertEqual([], what.content.read)  # type: ignore[attr-defined]
        self.assertEqual("delivered", brief(self.outcome(Hook(message_size=len(TEXT)))))

    def test_requires_tls(self) -> None:
        """What requires TLS (RFC 8689) does not go to another machine in clear."""
        for target, expected in (("//192.0.2.1/", "failure 5.7.30"), ("//127.0.0.1/", "delivered")):
            envelope = Envelope(SENDER, (Recipient(ONE),), require_tls=RequireTls.YES)
            place = Destination(NextHop(Transport.HTTP, target), "http")
            outcome = self.outcome(what=Delivery(1, 0.0, envelope, Content(), place, marked))
            self.assertEqual(expected, brief(outcome))

    def test_international(self) -> None:
        """An address beyond ASCII goes out as UTF-8."""
        who = Address("j\u00fcrgen", "to.test")
        envelope = Envelope(SENDER, (Recipient(who),), utf8=True)
        agent = PostAgent({}, web=self.web, clock=self.clock, run_in_thread=at_once)
        self.successResultOf(agent.deliver(Delivery(1, 0.0, envelope, Content(), PLACE, marked)))
        fields = dict(self.web.requests[0].headers)
        self.assertEqual(
            ("message/global", "<j\u00fcrgen@to.test>"), (fields["Content-Type"], fields["X-MTA-Recipient"])
        )


class ServerTests(TestCase):
    """A real server on loopback, by TLS and in clear."""

    timeout = 10

    def setUp(self) -> None:
        self.ca = trustme.CA()

    def agent(self, trusted: trustme.CA) -> PostAgent:
        root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(trusted.cert_pem.bytes())])
        resolver = FakeResolver({("x.test", "A"): ["127.0.0.1"]})
        web = Https(reactor=cast(Any, reactor), resolver=resolver, trust_root=root, clear=True)
        return PostAgent({}, web=web, clock=cast(Any, reactor), run_in_thread=at_once)

    async def outcome(self, agent: PostAgent, scheme: Transport, port: int) -> Outcome:
        place = Destination(
            NextHop(scheme, f"//{'x.test' if scheme is Transport.HTTPS else '127.0.0.1'}:{port}/in"), "x"
        )
        return (await agent.deliver(delivery(place)))[ONE]

    def serve(self, certificate: trustme.LeafCert | None) -> WebServer:
        server = WebServer(cast(Any, reactor), certificate)
        server.body = len(TEXT)
        server.closes = True
        self.addCleanup(server.stop)
        return server

    async def test_delivered(self) -> None:
        """The server has the message, by TLS and in clear."""
        for scheme, server in (
            (Transport.HTTPS, self.serve(self.ca.issue_cert("x.test"))),
            (Transport.HTTP, self.serve(None)),
        ):
            server.answer = response(b"", status="202 Accepted")
            self.assertEqual("delivered", brief(await self.outcome(self.agent(self.ca), scheme, server.port)))
            (request,) = server.requests
            self.assertTrue(request.startswith(b"POST /in HTTP/1.1\r\n"))
            self.assertTrue(request.endswith(b"\r\n\r\n" + TEXT))

    async def test_certificates(self) -> None:
        """Nothing is sent to a server whose certificate is another's, or of somebody unknown."""
        for server, authority in (
            (self.serve(self.ca.issue_cert("y.test")), self.ca),
            (self.serve(self.ca.issue_cert("x.test")), trustme.CA()),
        ):
            outcome = await self.outcome(self.agent(authority), Transport.HTTPS, server.port)
            assert isinstance(outcome, Deferral)
            self.assertIs(Scope.SITE, outcome.scope)
            self.assertIn("certificate", outcome.reason)
            self.assertEqual([], server.requests)

    async def test_endless_answer(self) -> None:
        """An answer without end is cut off."""
        server = self.serve(self.ca.issue_cert("x.test"))
        server.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        server.endless = bytes(4096)
        outcome = await self.outcome(self.agent(self.ca), Transport.HTTPS, server.port)
        self.assertEqual("deferral 4.4.1 message", brief(outcome))
        await server.when_lost

    async def test_nobody(self) -> None:
        """Where nobody listens the mail waits."""
        server = self.serve(None)
        await server.stop()
        outcome = await self.outcome(self.agent(self.ca), Transport.HTTP, server.port)
        assert isinstance(outcome, Deferral)
        self.assertIn("cannot connect", outcome.reason)

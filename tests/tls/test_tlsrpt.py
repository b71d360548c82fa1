"""The sending of reports: when, once, to whom, and again where it failed; by HTTPS over real sockets with a test CA."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import trustme
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mta.address import Address
from mta.dns.fake import FakeResolver
from mta.tls.https import Https
from mta.tls.tlsrpt import LEASE, LOOK_EVERY, SETTLED_AFTER, SPREAD, TRIED_FOR, Reporter, Terms
from mta.tls.tlsrpt_report import Submitter
from mta.tls.tlsrpt_store import Counts, Report, State, TlsrptStore
from mta.tls_report import SECONDS_OF_DAY, Applied, Finding, PolicyType, Result, Session
from tests.tls.test_sts import at_once
from tests.tls.test_sts_fetch import RealNetwork
from tests.tls.web_server import self_signed

REACTOR = cast(Any, reactor)
DAY = 20_000
NOON = DAY * SECONDS_OF_DAY + 43_200.0
MIDNIGHT = float((DAY + 1) * SECONDS_OF_DAY)
US = Address("postmaster", "mx.example.test")
RECORD = b"v=TLSRPTv1; rua=mailto:reports@a.test"
CA = trustme.CA()
HOST = "reports.a.test"


class Sent:
    """Takes mail, or does not; each is (sender, recipient, message)."""

    def __init__(self) -> None:
        self.messages: list[tuple[Address, Address, bytes]] = []
        self.trouble: Exception | None = None

    def __call__(self, sender: Address, to: Address, make: Callable[[str], bytes]) -> Deferred[str]:
        if self.trouble is not None:
            return fail(self.trouble)
        self.messages.append((sender, to, make(f"ID{len(self.messages)}")))
        return succeed(f"ID{len(self.messages)}")


class Site:
    """A store with sessions of one day, and the reporters of workers around it."""

    def __init__(self, folder: Path, clock: Any, seed: int = 1) -> None:
        self.folder = folder
        self.clock = clock
        self.resolver = FakeResolver({("_smtp._tls.a.test", "TXT"): [RECORD]})
        self.store = TlsrptStore(folder)
        self.sent = Sent()
        self.notes: list[tuple[str, Mapping[str, str]]] = []
        self.rng = random.Random(seed)

    def count(self, *domains: str, day: int = DAY) -> None:
        counts = Counts()
        for domain in domains:
            policy = Applied(PolicyType.NONE, domain)
            counts.add((day, domain, policy), Session())
            counts.add((day, domain, policy), Session(Finding(Result.STARTTLS_NOT_SUPPORTED), host=f"mx.{domain}"))
        self.store.add(counts)

    def reporter(self, by_mail: bool = True, root: Any = None) -> Reporter:
        return Reporter(
            Terms(Submitter("Example", US), US, by_mail),
            store=TlsrptStore(self.folder),
            resolver=self.resolver,
            web=Https(reactor=self.clock, resolver=self.resolver, trust_root=root),
            send_mail=self.sent,
            clock=self.clock,
            rng=self.rng,
            run_in_thread=at_once,
            note=lambda kind, fields: self.notes.append((kind, fields)),
        )

    def state(self, domain: str = "a.test", day: int = DAY) -> Report:
        (report,) = self.store.reports(day, domain)
        return report


class ReporterCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.clock = Clock()
        self.clock.advance(NOON)
        self.site = Site(Path(folder.name) / "tlsrpt", self.clock)

    def begin(self, workers: int = 1, by_mail: bool = True) -> list[Reporter]:
        reporters = [self.site.reporter(by_mail) for _ in range(workers)]
        for reporter in reporters:
            reporter.start()
            self.addCleanup(reporter.stop)
        return reporters

    def pass_until(self, end: float) -> None:
        while (left := end - self.clock.seconds()) > 0:
            self.clock.advance(min(left, LOOK_EVERY))

    def reports(self) -> list[dict[str, Any]]:
        """The JSON in each message."""
        found = []
        for _sender, _to, data in self.site.sent.messages:
            encoded = data.split(b"base64\r\n", 1)[1].split(b"\r\n\r\n", 1)[1].split(b"--=_")[0]
            found.append(json.loads(gzip.decompress(b64decode(encoded))))
        return found


class TimeTests(ReporterCase):
    def test_once(self) -> None:
        """When the day is over, and all workers have written, one report goes out within hours, and never again."""
        self.site.count("a.test")
        self.begin(workers=4)
        self.pass_until(MIDNIGHT + SETTLED_AFTER)
        self.assertEqual([], self.site.sent.messages)
        self.pass_until(MIDNIGHT + SPREAD + LOOK_EVERY)
        self.assertEqual(1, len(self.site.sent.messages))
        self.pass_until(MIDNIGHT + 3 * SECONDS_OF_DAY)
        (report,) = self.reports()
        self.assertEqual("2024-10-04T00:00:00Z", report["date-range"]["start-datetime"])
        self.assertEqual(1, report["policies"][0]["summary"]["total-successful-session-count"])
        self.assertEqual((State.SENT, 1), (self.site.state().state, self.site.state().tries))
        self.assertEqual(["tlsrpt-sent"], [kind for kind, _fields in self.site.notes])

    def test_spread(self) -> None:
        """RFC 8460 4.1: reports do not all go out at midnight."""
        self.site.count(*(f"d{number}.test" for number in range(200)))
        self.begin(workers=2)
        self.pass_until(MIDNIGHT + LOOK_EVERY)
        due = sorted(report.due - MIDNIGHT for report in self.site.store.reports(DAY))
        self.assertEqual(200, len(due))
        self.assertGreaterEqual(due[0], SETTLED_AFTER)
        self.assertLessEqual(due[-1], SPREAD)
        self.assertGreater(due[150] - due[50], SPREAD / 4)

    def test_each_day(self) -> None:
        """Each day has its own report, also where the daemon was down at midnight."""
        self.site.count("a.test")
        self.site.count("a.test", day=DAY + 1)
        self.pass_until(MIDNIGHT + SECONDS_OF_DAY + SPREAD)
        self.begin()
        self.pass_until(MIDNIGHT + SECONDS_OF_DAY + SPREAD + 2 * LOOK_EVERY)
        dates = sorted(report["date-range"]["start-datetime"][:10] for report in self.reports())
        self.assertEqual(["2024-10-04", "2024-10-05"], dates)
        self.assertEqual(2, len({report["report-id"] for report in self.reports()}))

    def test_crash(self) -> None:
        """Who dies with a report in hand has it taken over; what a place has by then is not sent there again."""
        self.site.resolver.set("_smtp._tls.a.test", "TXT", [RECORD + b",mailto:other@a.test"])
        self.site.count("a.test")
        reporter = self.site.reporter()
        reporter.start()
        sending: list[Deferred[str]] = []

        def stall_at_second(sender: Address, to: Address, make: Callable[[str], bytes]) -> Deferred[str]:
            if to.local == "other":
                sending.append(Deferred())
                return sending[-1]
            return self.site.sent(sender, to, make)

        reporter._send_mail = stall_at_second
        self.pass_until(MIDNIGHT + SPREAD + LOOK_EVERY)
        self.assertEqual(1, len(sending))
        reporter.stop()  # as a crash: nothing is recorded of what was under way
        self.begin()
        self.pass_until(self.clock.seconds() + LEASE + 2 * LOOK_EVERY)
        self.assertEqual(["reports", "other"], [to.local for _sender, to, _data in self.site.sent.messages])
        self.assertIs(State.SENT, self.site.state().state)


class RecordTests(ReporterCase):
    def after_a_night(self, *records: bytes, by_mail: bool = True) -> Report:
        self.site.resolver.set("_smtp._tls.a.test", "TXT", records)
        self.site.count("a.test")
        self.begin(by_mail=by_mail)
        self.pass_until(MIDNIGHT + SPREAD + LOOK_EVERY)
        return self.site.state()

    def test_unwanted(self) -> None:
        """A domain without a record, or with places of no use, gets no report and is not asked again."""
        self.assertIs(State.UNWANTED, self.after_a_night(b"v=spf1 -all").state)
        self.assertEqual(([], []), (self.site.sent.messages, self.site.notes))

    def test_malformed(self) -> None:
        """A record that is malformed is one line of the log, and no report."""
        self.assertIs(State.UNWANTED, self.after_a_night(b"v=TLSRPTv1; rua=nonsense").state)
        ((kind, fields),) = self.site.notes
        self.assertEqual("tlsrpt-failed", kind)
        self.assertIn("URI is due", fields["reason"])

    def test_mail_is_off(self) -> None:
        """With tls.reports.mail off nothing goes by mail, and the reason can be seen."""
        report = self.after_a_night(RECORD, by_mail=False)
        self.assertEqual((State.UNWANTED, []), (report.state, self.site.sent.messages))
        self.assertEqual(["tls.reports.mail is off"], [place.trouble for place in report.places.values()])

    def test_dns_trouble(self) -> None:
        """Where the DNS does not answer the report is tried again, for a day (RFC 8460 5.5)."""
        self.site.count("a.test")
        self.site.resolver.fail("_smtp._tls.a.test", "TXT")
        self.begin()
        self.pass_until(MIDNIGHT + SPREAD + 3600.0)
        self.assertIs(State.WAITING, self.site.state().state)
        self.site.resolver.set("_smtp._tls.a.test", "TXT", [RECORD])
        self.pass_until(MIDNIGHT + SPREAD + TRIED_FOR)
        self.assertEqual((State.SENT, 1), (self.site.state().state, len(self.site.sent.messages)))


class RetryTests(ReporterCase):
    def test_given_up(self) -> None:
        """What fails is tried with longer and longer waits, for 24 hours, and then no more (RFC 8460 5.5)."""
        self.site.count("a.test")
        self.site.sent.trouble = OSError("the disk is full")
        self.begin()
        self.pass_until(MIDNIGHT + 2 * SECONDS_OF_DAY)
        report = self.site.state()
        self.assertIs(State.FAILED, report.state)
        self.assertEqual(10, report.tries)  # with 15 and 30 minutes, 1, 2 and from then on 4 hours between
        self.assertEqual(report.tries, len([kind for kind, _ in self.site.notes if kind == "tlsrpt-failed"]))
        self.assertIn("the disk is full", self.site.notes[0][1]["reason"])

    def test_second_time(self) -> None:
        """A place that takes it at the second time has it once, under the same id."""
        self.site.count("a.test")
        self.site.sent.trouble = OSError("the disk is full")
        self.begin()
        self.pass_until(MIDNIGHT + SPREAD + LOOK_EVERY)
        self.site.sent.trouble = None
        self.pass_until(MIDNIGHT + 2 * SECONDS_OF_DAY)
        self.assertEqual((State.SENT, 1), (self.site.state().state, len(self.site.sent.messages)))


class Post(Protocol):
    """Reads one POST with its body, and answers."""

    def __init__(self, server: PostServer) -> None:
        self._server = server
        self._read = b""

    def dataReceived(self, data: bytes) -> None:
        self._read += data
        head, blank, body = self._read.partition(b"\r\n\r\n")
        if not blank:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) == int(fields[b"content-length"]):
            self._server.posts.append((head.split(b"\r\n")[0], fields, body))
            assert self.transport is not None
            self.transport.write(b"HTTP/1.1 " + self._server.answer + b"\r\nContent-Length: 0\r\n\r\n")


class PostServer:
    """An HTTPS server on a free port of 127.0.0.1 that takes reports; `answer` is its status line."""

    def __init__(self, certificate: trustme.LeafCert | bytes) -> None:
        self.answer = b"201 Created"
        self.posts: list[tuple[bytes, dict[bytes, bytes], bytes]] = []
        pem = certificate if isinstance(certificate, bytes) else certificate.private_key_and_cert_chain_pem.bytes()
        options = ssl.PrivateCertificate.loadPEM(pem).options()
        self.listening = REACTOR.listenSSL(0, Factory.forProtocol(lambda: Post(self)), options, interface="127.0.0.1")
        self.port: int = self.listening.getHost().port


class HttpsTests(TestCase):
    timeout = 10

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.network = RealNetwork()
        self.network.clock.advance(MIDNIGHT + SPREAD + 1)
        self.site = Site(Path(folder.name) / "tlsrpt", self.network)
        self.site.resolver.set(HOST, "A", ["127.0.0.1"])
        self.site.count("a.test")
        self.root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(CA.cert_pem.bytes())])

    def serve(self, certificate: trustme.LeafCert | bytes, *more: bytes) -> PostServer:
        server = PostServer(certificate)
        self.addCleanup(server.listening.stopListening)
        uri = f"https://{HOST}:{server.port}/v1/tlsrpt?x=1".encode()
        self.site.resolver.set("_smtp._tls.a.test", "TXT", [b"v=TLSRPTv1; rua=" + b",".join((uri, *more))])
        return server

    async def look(self, by_mail: bool = False) -> Report:
        await self.site.reporter(by_mail, self.root).look()
        await self.moment()
        return self.site.state()

    def moment(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        REACTOR.callLater(0.02, done.callback, None)
        return done

    async def test_posted(self) -> None:
        """RFC 8460 5.4: the report in gzip, by POST, with its media type, to a server whose certificate is good."""
        server = self.serve(CA.issue_cert(HOST))
        report = await self.look()
        self.assertIs(State.SENT, report.state)
        ((request, fields, body),) = server.posts
        self.assertEqual(b"POST /v1/tlsrpt?x=1 HTTP/1.1", request)
        self.assertEqual(b"application/tlsrpt+gzip", fields[b"content-type"])
        self.assertEqual(f"{HOST}:{server.port}".encode(), fields[b"host"])
        said = json.loads(gzip.decompress(body))
        self.assertEqual("postmaster@mx.example.test", said["contact-info"])
        self.assertEqual("a.test", said["policies"][0]["policy"]["policy-domain"])
        self.assertEqual(
            [
                {
                    "result-type": "starttls-not-supported",
                    "receiving-mx-hostname": "mx.a.test",
                    "failed-session-count": 1,
                }
            ],
            said["policies"][0]["failure-details"],
        )
        ((kind, noted),) = self.site.notes
        self.assertEqual(("tlsrpt-sent", said["report-id"]), (kind, noted["report"]))

    async def test_refused(self) -> None:
        """Another answer than a yes is none, a redirect is not followed, and it is tried again later."""
        for answer in (b"500 Broken", b"302 Found", b"404 Not Found"):
            server = self.serve(CA.issue_cert(HOST))
            server.answer = answer
            report = await self.look()
            self.assertIs(State.WAITING, report.state)
            self.assertIn(answer.split()[0].decode(), self.site.notes[-1][1]["reason"])
            self.assertEqual(1, len(server.posts))
            self.network.clock.advance(report.due - self.network.seconds())
        server = self.serve(CA.issue_cert(HOST))
        self.assertIs(State.SENT, (await self.look()).state)

    async def test_wrong_certificate(self) -> None:
        """Nothing is told to a server that can't prove who it is."""
        for certificate in (trustme.CA().issue_cert(HOST), CA.issue_cert("other.test"), self_signed(HOST)):
            server = self.serve(certificate)
            report = await self.look()
            self.assertEqual((State.WAITING, []), (report.state, server.posts))
            self.assertIn("certificate", self.site.notes[-1][1]["reason"])
            self.network.clock.advance(report.due - self.network.seconds())

    async def test_each_place(self) -> None:
        """Each place gets it; one that fails is tried again, and the other has it once."""
        server = self.serve(CA.issue_cert(HOST), b"mailto:reports@a.test")
        server.answer = b"503 Later"
        report = await self.look(by_mail=True)
        self.assertEqual((State.WAITING, 1), (report.state, len(self.site.sent.messages)))
        server.answer = b"200 OK"
        self.network.clock.advance(report.due - self.network.seconds())
        report = await self.look(by_mail=True)
        self.assertEqual((State.SENT, 1, 2), (report.state, len(self.site.sent.messages), len(server.posts)))

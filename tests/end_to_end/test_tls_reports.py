"""A real daemon, a domain with a policy, and mail hosts with wrong certificates: what `mta tlsrpt show` says of it."""

from __future__ import annotations

import contextlib
import email
import email.policy
import gzip
import http.server
import json
import random
import signal
import socket
import ssl
import threading
import time
from typing import Any

from twisted.trial.unittest import SkipTest

from mta.sts_policy import Mode, StsPolicy
from mta.tls.sts_store import Stored, StsStore
from mta.tls.tlsrpt_store import Counts, State, TlsrptStore
from mta.tls_report import Applied, PolicyType, Session, day_of
from tests.end_to_end.daemon import Daemon, EndToEndCase, eventually
from tests.peers.certificates import Issued, made
from tests.peers.dns_server import DNSServer


class MailHost:
    """
    A mail host in threads: STARTTLS with one certificate, then it takes all mail.

    It has a loopback address of its own, for an MX host has port 25 and no other.
    """

    def __init__(self, issued: Issued, top: Any) -> None:
        certificate, key = top / "host.pem", top / "host.key"
        certificate.write_bytes(issued.pem)
        key.write_bytes(issued.key_pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.address = ".".join(["127", *(str(random.randint(2, 250)) for _ in range(3))])
        self._listening = socket.create_server((self.address, 25))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _address = self._listening.accept()
                threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._say(peer, b"220 mx.dest.test ESMTP\r\n")
            lines, in_tls, in_content = peer.makefile("rb"), False, False
            while line := lines.readline():
                word = line.strip().upper()
                if in_content:
                    in_content = word != b"."
                    if not in_content:
                        self._say(peer, b"250 2.0.0 taken\r\n")
                elif word.startswith(b"EHLO"):
                    self._say(peer, b"250 mx.dest.test\r\n" if in_tls else b"250-mx.dest.test\r\n250 STARTTLS\r\n")
                elif word == b"STARTTLS":
                    self._say(peer, b"220 2.0.0 go ahead\r\n")
                    peer = self.context.wrap_socket(peer, server_side=True)
                    lines, in_tls = peer.makefile("rb"), True
                elif word == b"DATA":
                    in_content = True
                    self._say(peer, b"354 go on\r\n")
                else:
                    self._say(peer, b"250 2.0.0 fine\r\n")

    def _say(self, peer: socket.socket, words: bytes) -> None:
        peer.sendall(words)

    def stop(self) -> None:
        # A thread that waits in accept() keeps the socket: shutdown wakes it.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class TlsReportTests(EndToEndCase):
    def site(self, issued: Issued, mode: Mode | None, workers: int = 1) -> Daemon:
        """A daemon that finds dest.test at our mail host, and knows its policy."""
        try:
            host = MailHost(issued, self.top)
        except PermissionError:
            raise SkipTest("a mail host has port 25, which takes root") from None
        self.addCleanup(host.stop)
        server = DNSServer({("dest.test", "MX"): ["10 mx.dest.test."], ("mx.dest.test", "A"): [host.address]})
        self.address = host.address
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        more = (
            f'\n[dns]\nservers = ["127.0.0.1:{server.port}"]\ntimeout = "2s"\ntrust_ad = "none"\n'
            f'\n[client.tls]\nca_file = "{self.authorities}"\n'
        )
        daemon = Daemon(self.top, more, workers)
        if mode is not None:
            daemon.state.mkdir()
            now = time.time()
            stored = Stored(StsPolicy(mode, ("mx.dest.test",), 86_400, "1"), now, now, now)
            StsStore(daemon.state / "sts", self.fail).write("dest.test", stored)
        self.addCleanup(daemon.stop, signal.SIGKILL)
        daemon.start()
        return daemon

    def setUp(self) -> None:
        super().setUp()
        self.root = made("test root", is_authority=True)
        self.authorities = self.top / "authorities.pem"
        self.authorities.write_bytes(self.root.pem)

    def delivered(self, daemon: Daemon, identity: str) -> None:
        eventually(lambda: "delivered" in daemon.kinds(identity), "the delivery")

    def shown(self, daemon: Daemon, count: int = 1) -> dict[str, Any]:
        """The one row of dest.test, once it has `count` sessions."""

        def rows() -> list[dict[str, Any]]:
            found = daemon.rows("tlsrpt", "show", "dest.test")
            return found if sum(row["successes"] + row["failures"] for row in found) >= count else []

        (row,) = eventually(rows, "the counts")
        return row

    def test_enforced(self) -> None:
        """Under an enforced policy a host with another name's certificate gets nothing, and the failure has it all."""
        wrong = made("mx.other.test", self.root, names=("mx.other.test",))
        daemon = self.site(wrong, Mode.ENFORCE)
        identity = daemon.submit("a@sender.test", "b@dest.test")
        eventually(lambda: "deferred" in daemon.kinds(identity), "the deferral")
        daemon.stop()  # a stop writes what was counted
        row = self.shown(daemon)
        self.assertEqual(("sts", 0), (row["policy"], row["successes"]))
        self.assertEqual(
            ["version: STSv1", "mode: enforce", "mx: mx.dest.test", "max_age: 86400"], row["policy_strings"]
        )
        (detail,) = row["details"]
        self.assertIn("is for mx.other.test, not for mx.dest.test", detail["reason"])
        self.assertEqual(
            ("certificate-host-mismatch", "mx.dest.test", "mx.dest.test", self.address),
            (detail["result"], detail["host"], detail["helo"], detail["ip"]),
        )
        self.assertTrue(detail["sending_ip"].startswith("127."))
        self.assertEqual(row["failures"], detail["count"])

    def test_testing_and_workers(self) -> None:
        """A policy that is tested lets the mail go and tells what is wrong; two workers add up, while they run."""
        daemon = self.site(made("mx.dest.test", names=("mx.dest.test",)), Mode.TESTING, workers=2)
        for number in range(6):
            identity = daemon.submit("a@sender.test", f"b{number}@dest.test")
            self.delivered(daemon, identity)
        row = self.shown(daemon)
        (detail,) = row["details"]
        self.assertEqual(("sts", "certificate-not-trusted"), (row["policy"], detail["result"]))
        self.assertIn("self-signed", detail["reason"])
        self.assertEqual((0, detail["count"]), (row["successes"], row["failures"]))

    def test_restart(self) -> None:
        """Counts are still there after a restart, and go on; without a policy any TLS is a success."""
        daemon = self.site(made("anything"), None)
        for starts in (1, 2):
            identity = daemon.submit("a@sender.test", "b@dest.test")
            self.delivered(daemon, identity)
            daemon.stop()
            row = self.shown(daemon, starts)
            self.assertEqual(("no-policy-found", starts, 0), (row["policy"], row["successes"], row["failures"]))
            daemon.start()
        self.delivered(daemon, daemon.submit("a@sender.test", "b@dest.test"))
        self.shown(daemon, 3)
        daemon.stop(signal.SIGKILL)  # some seconds later nothing is lost by this, either
        self.assertEqual(3, self.shown(daemon, 3)["successes"])


class Reports(http.server.BaseHTTPRequestHandler):
    """Takes reports; they are in the server's `taken`."""

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.server.taken.append((self.path, self.headers["Content-Type"], self.rfile.read(size)))  # type: ignore[attr-defined]
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""


class SendingTests(EndToEndCase):
    def test_sent(self) -> None:
        """Two workers send what was counted yesterday, once: to a web server that is verified, and by mail."""
        root = made("test root", is_authority=True)
        authorities = self.top / "authorities.pem"
        authorities.write_bytes(root.pem)
        own = made("reports.dest.test", root, names=("reports.dest.test",))
        certificate, key = self.top / "web.pem", self.top / "web.key"
        certificate.write_bytes(own.pem)
        key.write_bytes(own.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        web: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reports)
        web.taken = []
        web.socket = context.wrap_socket(web.socket, server_side=True)
        threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        rua = f"https://reports.dest.test:{web.server_port}/v1,mailto:alice@local.test"
        server = DNSServer(
            {
                ("_smtp._tls.dest.test", "TXT"): [f'"v=TLSRPTv1; rua={rua}"'],
                ("reports.dest.test", "A"): ["127.0.0.1"],
            }
        )
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        more = (
            f'\n[dns]\nservers = ["127.0.0.1:{server.port}"]\ntimeout = "2s"\ntrust_ad = "none"\n'
            f'\n[sts]\nca_file = "{authorities}"\n\n[tls.reports]\nmail = true\n'
        )
        daemon = Daemon(self.top, more, workers=2)
        daemon.state.mkdir()
        store = TlsrptStore(daemon.state / "tlsrpt")
        today, counts = day_of(time.time()), Counts()
        counts.add((today - 1, "dest.test", Applied(PolicyType.NONE, "dest.test")), Session(), 7)
        store.add(counts)
        store.plan(today, lambda _day: 0.0)
        self.addCleanup(daemon.stop, signal.SIGKILL)
        daemon.start()
        eventually(lambda: store.reports(today - 1)[0].state is State.SENT, "the report")
        (mail,) = eventually(lambda: daemon.mailbox("alice"), "the mail")
        ((path, kind, octets),) = web.taken
        self.assertEqual(("/v1", "application/tlsrpt+gzip"), (path, kind))
        said = json.loads(gzip.decompress(octets))
        self.assertEqual(7, said["policies"][0]["summary"]["total-successful-session-count"])
        message = email.message_from_string(mail, policy=email.policy.default)
        self.assertEqual(("dest.test", "mx.test"), (message["TLS-Report-Domain"], message["TLS-Report-Submitter"]))
        _text, attached = message.iter_parts()
        self.assertEqual(octets, attached.get_content())
        daemon.stop()
        self.assertEqual(2, daemon.output.read_text().count("tlsrpt-sent"))

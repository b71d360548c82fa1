"""STARTTLS and implicit TLS: a real handshake in memory, and those who try to get something past it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from mta.tls.contexts import Terms
from mta.tls.pairs import Files
from mta.tls.server import ServerTls
from tests.policy.limits import limits_for_tests
from tests.server.fakes import HOSTNAME, TRUSTED, Site, codes
from tests.server.tls_client import CIPHERS, connect, context, secured, tls_site

EHLO = b"EHLO client.test\r\n"
MESSAGE = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@local.test>\r\nDATA\r\n"


class TlsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def site(self, **changed: Any) -> Site:
        return tls_site(self.folder, **changed)


class StartTlsTests(TlsCase):
    def test_offered_before_and_not_after(self) -> None:
        """EHLO offers STARTTLS in clear, and no more within TLS (RFC 3207 4.2)."""
        client = connect(self.site())
        client.say(b"")
        self.assertIn(b"250-STARTTLS\r\n", client.say(EHLO))
        self.assertEqual(b"220 2.0.0 Ready to start TLS\r\n", client.say(b"STARTTLS\r\n"))
        client.start_tls()
        reply = client.say(EHLO)
        self.assertEqual(["250"], codes(reply))
        self.assertNotIn(b"STARTTLS", reply)

    def test_every_role(self) -> None:
        """Each role that takes mail offers it."""
        for role, hello in (("mx", EHLO), ("relay", EHLO), ("submission", EHLO), ("lmtp", b"LHLO client.test\r\n")):
            self.assertIn(b"250-STARTTLS\r\n", connect(self.site(role=role)).say(hello), role)

    def test_message(self) -> None:
        """Mail comes in by TLS; its trace field and its event say how (RFC 3848)."""
        for version, name in ((SSL.TLS1_2_VERSION, "TLSv1.2"), (SSL.TLS1_3_VERSION, "TLSv1.3")):
            site = self.site()
            client = secured(site, context(version))
            client.say(EHLO)
            self.assertEqual(["250", "250", "354"], client.codes(MESSAGE))
            self.assertEqual(["250"], client.codes(b"Subject: hi\r\n\r\nhello\r\n.\r\n"))
            ((entry, origin, _),) = site.spool.committed
            assert client.tls is not None
            cipher = client.tls.get_cipher_name()
            self.assertEqual(("ESMTPS", {"tls": name, "cipher": cipher}), (origin.protocol, origin.details))
            trace = b" ".join((entry.content or b"").split(b"Subject")[0].split())
            self.assertIn(f"with ESMTPS ({name} {cipher}) id ".encode(), trace)

    def test_session_starts_anew(self) -> None:
        """What was said in clear is forgotten: without a new EHLO there is no mail (RFC 3207 4.2)."""
        client = secured(self.site())
        self.assertEqual(b"503 5.5.1 Send EHLO first\r\n", client.say(b"MAIL FROM:<a@b.test>\r\n"))

    def test_not_twice(self) -> None:
        """Within TLS it is 503, and TLS goes on (RFC 3207 4.2)."""
        client = secured(self.site())
        client.say(EHLO)
        self.assertEqual(b"503 5.5.1 TLS is active already\r\n", client.say(b"STARTTLS\r\n"))
        self.assertEqual(["250"], client.codes(b"NOOP\r\n"))

    def test_refusals(self) -> None:
        """503 before EHLO and within a message, 501 with an argument: the session goes on in clear."""
        client = connect(self.site())
        client.heard()
        self.assertEqual(["503"], client.codes(b"STARTTLS\r\n"))
        client.say(EHLO)
        self.assertEqual(["501"], client.codes(b"STARTTLS now\r\n"))
        client.say(b"MAIL FROM:<a@b.test>\r\n")
        self.assertEqual(["503"], client.codes(b"STARTTLS\r\n"))
        self.assertEqual(["250"], client.codes(b"RSET\r\n"))

    def test_no_certificate(self) -> None:
        """Where none can be used it is 454, and mail goes on in clear."""
        tls = ServerTls(
            [Files(self.folder / "none.pem", self.folder / "none.key")], Terms("1.2", CIPHERS), frozenset(), lambda: 0.0
        )
        client = connect(Site(tls=tls))
        client.say(EHLO)
        self.assertEqual(["454"], client.codes(b"STARTTLS\r\n"))
        self.assertEqual(["250", "250", "354"], client.codes(MESSAGE))

    def test_not_offered(self) -> None:
        """Without TLS, and to whom is turned away, it is no command."""
        client = connect(Site())
        self.assertNotIn(b"STARTTLS", client.say(EHLO))
        self.assertEqual(["502"], client.codes(b"STARTTLS\r\n"))

    def test_limits_are_kept(self) -> None:
        """TLS does not wipe out a client's errors."""
        site = self.site(limits=limits_for_tests(errors_soft=2, errors_hard=3, error_delay=0.0))
        client = connect(site)
        client.say(EHLO)
        client.say(b"XYZZY\r\nXYZZY\r\n")
        client.say(b"STARTTLS\r\n")
        client.start_tls()
        client.say(b"XYZZY\r\n")
        self.assertEqual(b"421", client.say(b"NOOP\r\n")[:3])


class InjectionTests(TlsCase):
    """CVE-2011-0411: what somebody in between puts behind STARTTLS must not become a command within TLS."""

    BEHIND = b"EHLO evil.test\r\nMAIL FROM:<evil@b.test>\r\n"

    def test_dropped(self) -> None:
        """What comes together with STARTTLS is neither answered nor kept, whole lines and parts of them."""
        for length in range(len(self.BEHIND) + 1):
            client = connect(self.site())
            client.say(EHLO)
            reply = client.say(b"STARTTLS\r\n" + self.BEHIND[:length])
            self.assertEqual(b"220 2.0.0 Ready to start TLS\r\n", reply)
            client.start_tls()
            self.assertEqual(b"", client.say(b""))
            self.assertEqual(b"503 5.5.1 Send EHLO first\r\n", client.say(b"MAIL FROM:<a@b.test>\r\n"), length)

    def test_every_split(self) -> None:
        """However it is cut, not a byte of it is a command: it is dropped, or it is no handshake."""
        wire = b"STARTTLS\r\n" + self.BEHIND
        for cut in range(1, len(wire)):
            site = self.site()
            client = connect(site)
            client.say(EHLO)
            client.server_hears(wire[:cut])
            client.server_hears(wire[cut:])
            heard = client.heard()
            self.assertEqual(b"220 2.0.0 Ready to start TLS\r\n", heard[:30], cut)
            self.assertNotIn(b"250", heard[30:], cut)
            if cut < len(b"STARTTLS\r\n"):
                client.start_tls()
                self.assertEqual(["503"], client.codes(b"RCPT TO:<alice@local.test>\r\n"), cut)

    def test_pipelined(self) -> None:
        """A second STARTTLS behind the first is dropped with the rest; one group's replies come in clear, in order."""
        client = connect(self.site())
        client.say(EHLO)
        self.assertEqual(["250", "220"], client.codes(b"RSET\r\nSTARTTLS\r\nSTARTTLS\r\nNOOP\r\n"))
        client.start_tls()
        self.assertEqual(b"", client.say(b""))
        self.assertEqual(["250"], client.codes(EHLO))

    def test_behind_a_long_line(self) -> None:
        """What stands behind a line that is too long is dropped as well."""
        client = connect(self.site())
        client.say(EHLO)
        self.assertEqual(["500", "220"], client.codes(b"x" * 5000 + b"\r\nSTARTTLS\r\nNOOP\r\n"))
        client.start_tls()
        self.assertEqual(b"", client.say(b""))

    def test_clear_text_after_the_handshake(self) -> None:
        """Clear text within TLS ends the connection, unanswered and not obeyed."""
        site = self.site()
        client = secured(site)
        client.say(EHLO)
        client.server_hears(b"MAIL FROM:<evil@b.test>\r\n")
        self.assertFalse(client.open)
        self.assertEqual(0, site.factory.sessions)


class HandshakeTests(TlsCase):
    def assert_failed(self, site: Site, reason: str) -> None:
        ((kind, fields),) = site.log
        self.assertEqual(("tls-failed", "relay"), (kind, fields["listener"]))
        self.assertIn(reason, fields["reason"])
        self.assertEqual((0, 0), (site.factory.sessions, site.connections.total))
        self.assertEqual([], self.flushLoggedErrors())

    def test_garbage(self) -> None:
        """What is no handshake ends the connection with one line in the log."""
        for garbage in (b"\0" * 100, b"GET / HTTP/1.0\r\n\r\n", b"QUIT\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 70_000):
            for implicit in (True, False):
                site = self.site(implicit_tls=implicit)
                client = connect(site)
                if not implicit:
                    client.say(EHLO)
                    client.say(b"STARTTLS\r\n")
                client.server_hears(garbage)
                self.assertFalse(client.open, garbage[:20])
                self.assert_failed(site, "")
                self.assertTrue(site.log[0][1]["reason"], garbage[:20])

    def test_hung_up(self) -> None:
        """A client that goes away in the handshake, at any byte of it, leaves one line in the log."""
        probe = connect(self.site(implicit_tls=True))
        probe.hello()
        assert probe.tls is not None
        self.assertRaises(SSL.WantReadError, probe.tls.do_handshake)
        hello = probe.pending()
        for length in (0, 1, 5, 100, len(hello)):
            for half in (True, False):
                site = self.site(implicit_tls=True)
                client = connect(site)
                client.server_hears(hello[:length])
                if half:
                    client.server.readConnectionLost()
                else:
                    client.vanish()
                self.assertFalse(client.open)
                self.assert_failed(site, "hung up")

    def test_too_slow(self) -> None:
        """A handshake that is not done in time ends the connection; before, nothing counts as silence."""
        site = self.site(implicit_tls=True, handshake_timeout=120.0)
        client = connect(site)
        site.clock.pump([1.0] * 119)
        self.assertTrue(client.open)
        site.clock.pump([1.0] * 2)
        self.assertFalse(client.open)
        self.assert_failed(site, "not done within 120 s")

    def test_old_versions(self) -> None:
        """TLS 1.1 is refused, and the log says why (RFC 8996)."""
        site = self.site(implicit_tls=True)
        client = connect(site)
        old = SSL.Context(SSL.TLS_CLIENT_METHOD)
        old.set_cipher_list(b"ALL:@SECLEVEL=0")
        old.set_min_proto_version(SSL.TLS1_VERSION)
        old.set_max_proto_version(SSL.TLS1_1_VERSION)
        self.assertRaises(SSL.Error, client.start_tls, old)
        self.assert_failed(site, "unsupported protocol")

    def test_certificate_rejected(self) -> None:
        """A client that does not like our certificate says so in an alert, which the log repeats."""
        site = self.site(implicit_tls=True)
        client = connect(site)
        suspicious = SSL.Context(SSL.TLS_CLIENT_METHOD)
        suspicious.set_max_proto_version(SSL.TLS1_2_VERSION)
        suspicious.set_verify(SSL.VERIFY_PEER)
        self.assertRaises(SSL.Error, client.start_tls, suspicious)
        client.server_hears(client.pending())
        self.assert_failed(site, "unknown ca")

    def test_stopping(self) -> None:
        """A stop ends handshakes that are under way, without a word in clear."""
        for way in ("stop", "abort"):
            site = self.site(implicit_tls=True)
            client = connect(site)
            getattr(site.factory, way)()
            self.assertEqual((False, False), (client.open, b"421" in client.heard()), way)


class ImplicitTests(TlsCase):
    def test_greeting_in_tls(self) -> None:
        """The greeting comes within TLS; nothing is said in clear, and STARTTLS is not offered (RFC 8314 3)."""
        for host in ("192.0.2.1", TRUSTED):
            site = self.site(implicit_tls=True)
            client = connect(site, host)
            self.assertEqual(b"", client.heard())
            client.start_tls()
            site.settle()
            self.assertEqual(f"220 {HOSTNAME} ESMTP\r\n".encode(), client.heard())
            reply = client.say(EHLO)
            self.assertEqual((["250"], False), (codes(reply), b"STARTTLS" in reply))
            self.assertEqual(["502"], client.codes(b"STARTTLS\r\n"))
            client.say(MESSAGE)
            self.assertEqual(["250"], client.codes(b"Subject: hi\r\n\r\nhello\r\n.\r\n"))
            self.assertEqual("ESMTPS", site.spool.committed[0][1].protocol)

    def test_refused_connections(self) -> None:
        """Who is one too many is not told so in clear: it could not read that."""
        site = self.site(implicit_tls=True, limits=limits_for_tests(connections_per_client=1))
        connect(site)
        second = connect(site)
        self.assertEqual((False, b""), (second.open, second.heard()))

    def test_early_talkers(self) -> None:
        """Who speaks in TLS before the greeting hears 554 in TLS."""
        client = connect(self.site(implicit_tls=True))
        client.start_tls()
        self.assertEqual(b"554", client.say(EHLO)[:3])

    def test_no_certificate(self) -> None:
        """Where no certificate can be used the connection is closed, and the log says so."""
        tls = ServerTls(
            [Files(self.folder / "none.pem", self.folder / "none.key")], Terms("1.2", CIPHERS), frozenset(), lambda: 0.0
        )
        site = Site(tls=tls, implicit_tls=True)
        client = connect(site)
        self.assertFalse(client.open)
        self.assertEqual(["tls-failed"], site.kinds)


class ClosingTests(TlsCase):
    def test_quit(self) -> None:
        """Behind the reply to QUIT comes close_notify, and the connection ends without waiting for the client's."""
        client = secured(self.site())
        client.say(EHLO)
        self.assertEqual(["221"], client.codes(b"QUIT\r\n"))
        self.assertTrue(client.closed)
        self.assertFalse(client.open)

    def test_close_notify_before_the_reply(self) -> None:
        """A client that closes its direction behind the dot and QUIT gets both replies (RFC 8446 6.1), once durable."""
        site = self.site()
        client = secured(site)
        client.say(EHLO)
        client.say(MESSAGE)
        site.spool.slow = True
        self.assertEqual(b"", client.say(b"Subject: hi\r\n\r\nhello\r\n.\r\nQUIT\r\n"))
        client.close_tls()
        self.assertEqual((True, b""), (client.open, client.heard()))
        site.spool.finish()
        self.assertEqual(["250", "221"], codes(client.heard()))
        self.assertTrue(client.closed)
        self.assertFalse(client.open)

    def test_close_notify_between_commands(self) -> None:
        """A client that closes without QUIT is let go."""
        client = secured(self.site())
        client.say(EHLO)
        client.close_tls()
        client.heard()
        self.assertEqual((True, False), (client.closed, client.open))

    def test_end_without_close_notify(self) -> None:
        """A connection that is cut in a message leaves nothing of it: it may have been cut by somebody in between."""
        site = self.site()
        client = secured(site)
        client.say(EHLO)
        client.say(MESSAGE)
        client.say(b"Subject: hi\r\n")
        client.server.readConnectionLost()
        self.assertFalse(client.open)
        self.assertEqual([], site.spool.committed)
        self.assertTrue(site.spool.received[0].aborted)

    def test_idle(self) -> None:
        """An idle client hears 421 in TLS."""
        site = self.site()
        client = secured(site)
        client.say(EHLO)
        site.clock.pump([1.0] * 301)
        self.assertEqual(b"421", client.heard()[:3])
        self.assertFalse(client.open)

    def test_deaf(self) -> None:
        """A peer that does not take its last reply is dropped."""
        site = self.site()
        client = secured(site)
        client.wire.closes = False
        site.factory.abort()
        self.assertFalse(client.wire.aborted)
        site.clock.pump([1.0] * 11)
        self.assertTrue(client.wire.aborted)


class BackPressureTests(TlsCase):
    def test_deaf_peer(self) -> None:
        """A peer that reads no replies is not read from, and goes on when it does."""
        client = secured(self.site())
        client.say(EHLO)
        producer = client.wire.producer
        assert producer is not None
        producer.pauseProducing()
        assert client.tls is not None
        client.tls.sendall(b"NOOP\r\n" * 3)
        client.server_hears(client.pending())
        self.assertEqual((b"", "paused"), (client.heard(), client.wire.producerState))
        producer.resumeProducing()
        self.assertEqual((["250"] * 3, "producing"), (codes(client.heard()), client.wire.producerState))

    def test_full_spool(self) -> None:
        """While the spool is full the transport is paused, and the content is complete in the end."""
        site = self.site()
        client = secured(site)
        client.say(EHLO)
        client.say(MESSAGE)
        site.spool.full = True
        client.say(b"Subject: hi\r\n\r\n")
        client.say(b"hello\r\n")
        self.assertEqual("paused", client.wire.producerState)
        site.spool.full = False
        site.spool.make_room()
        self.assertEqual("producing", client.wire.producerState)
        self.assertEqual(["250"], client.codes(b"\r\n.\r\n"))
        self.assertEqual([b"Subject: hi\r\n\r\nhello\r\n\r\n"], site.spool.contents)

    def test_every_cut(self) -> None:
        """However the network cuts the encrypted stream, the same replies come, in order."""
        whole = EHLO, MESSAGE, b"Subject: hi\r\n\r\n" + b"hello\r\n" * 3000 + b".\r\nNOOP\r\nQUIT\r\n"
        for size in (1, 7, 100, 4096):
            site = self.site()
            client = secured(site)
            replies = b""
            assert client.tls is not None
            for piece in whole:
                client.tls.sendall(piece)
                wire = client.pending()
                for start in range(0, len(wire), size):
                    client.server_hears(wire[start : start + size])
                replies += client.heard()
            self.assertEqual(["250", "250", "250", "354", "250", "250", "221"], codes(replies), size)

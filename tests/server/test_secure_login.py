"""AUTH within TLS: what it is bound to, and what is left of a login that came before."""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from mta.auth import userfile
from mta.auth.authentication import Authentication
from mta.auth.users import UserFile
from mta.policy.submitters import NO_LIMITS, Submitters
from tests.auth.test_mechanisms import scram_proof
from tests.policy.limits import limits_for_tests
from tests.server.fakes import Site
from tests.server.tls_client import TlsClient, connect, context, secured, tls_site

EHLO = b"EHLO client.test\r\n"
GOOD = b"AUTH PLAIN " + b64encode(b"\0alice\0pencil") + b"\r\n"
HEADER = b"p=tls-exporter,,"


class SecureLoginCase(SynchronousTestCase):
    def site(self, in_clear: bool = False, implicit: bool = False) -> Site:
        """A listener of role submission that speaks TLS; `in_clear`: AUTH may come without."""
        folder = Path(self.mktemp())
        folder.mkdir()
        users = folder / "users"
        userfile.write(users, [userfile.user_of("alice", "pencil", [])])
        checker = UserFile(users, lambda work, *arguments: maybeDeferred(work, *arguments))
        mechanisms = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN")
        return tls_site(
            folder,
            limits=limits_for_tests(error_delay=0.0),
            role="submission",
            authentication=Authentication(checker, mechanisms=mechanisms, senders={}),
            auth_in_clear=in_clear,
            submitters=Submitters(NO_LIMITS, frozenset(("local.test",))),
            implicit_tls=implicit,
        )


class StartTlsTests(SecureLoginCase):
    def test_offered_within(self) -> None:
        """AUTH is offered and taken within TLS alone; the message is the user's, and ESMTPSA (RFC 4954 4, RFC 3848)."""
        site = self.site()
        client = connect(site)
        self.assertNotIn(b"AUTH", client.say(EHLO))
        self.assertEqual(["538"], client.codes(GOOD))
        self.assertEqual(["220"], client.codes(b"STARTTLS\r\n"))
        client.start_tls()
        self.assertIn(b"250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN\r\n", client.say(EHLO))
        self.assertEqual(["235"], client.codes(GOOD))
        self.assertEqual(
            ["250", "250", "354"], client.codes(b"MAIL FROM:<alice@local.test>\r\nRCPT TO:<x@far.test>\r\nDATA\r\n")
        )
        self.assertEqual(["250"], client.codes(b"Subject: x\r\n\r\nx\r\n.\r\n"))
        ((entry, origin, _claim),) = site.spool.committed
        self.assertEqual(
            ("ESMTPSA", "alice", "TLSv1.3"), (origin.protocol, origin.details["user"], origin.details["tls"])
        )
        self.assertIn(b"with ESMTPSA (TLSv1.3 ", (entry.content or b"").replace(b"\r\n\t", b" "))

    def test_forgotten(self) -> None:
        """Who logged in in clear is nobody within TLS, and may log in again (RFC 3207 4.2)."""
        client = connect(self.site(in_clear=True))
        client.say(EHLO)
        self.assertEqual(["235"], client.codes(GOOD))
        client.say(b"STARTTLS\r\n")
        client.start_tls()
        self.assertEqual(["503"], client.codes(GOOD))
        client.say(EHLO)
        self.assertEqual(["530"], client.codes(b"MAIL FROM:<alice@local.test>\r\n"))
        self.assertEqual(["235"], client.codes(GOOD))

    def test_within_an_exchange(self) -> None:
        """STARTTLS is a response there, a wrong one, and what was begun goes on in no other connection."""
        client = connect(self.site(in_clear=True))
        client.say(EHLO)
        self.assertEqual(["334"], client.codes(b"AUTH PLAIN\r\n"))
        self.assertEqual(["501", "220"], client.codes(b"STARTTLS\r\nSTARTTLS\r\n"))
        client.start_tls()
        self.assertEqual(["250"], client.codes(EHLO))

    def test_injected(self) -> None:
        """A login that somebody puts behind STARTTLS is dropped: it neither counts nor is answered (CVE-2011-0411)."""
        site = self.site(in_clear=True)
        client = connect(site)
        client.say(EHLO)
        self.assertEqual(["220"], client.codes(b"STARTTLS\r\n" + EHLO + GOOD))
        client.start_tls()
        self.assertEqual(b"", client.say(b""))
        client.say(EHLO)
        self.assertEqual(["530"], client.codes(b"MAIL FROM:<alice@local.test>\r\n"))
        self.assertNotIn("auth-ok", site.kinds)


class BindingTests(SecureLoginCase):
    def scram(self, client: TlsClient, binding: bytes) -> list[str]:
        """Log in as alice, bound to `binding`; the codes of the replies."""
        first = HEADER + b"n=alice,r=abc"
        challenge = client.say(b"AUTH SCRAM-SHA-256-PLUS " + b64encode(first) + b"\r\n")
        self.assertEqual(b"334 ", challenge[:4])
        server_first = b64decode(challenge[4:])
        unproved = b"c=" + b64encode(HEADER + binding) + b"," + server_first.split(b",")[0]
        final = client.say(b64encode(scram_proof("pencil", first, server_first, unproved)) + b"\r\n")
        return [final[:3].decode(), *(client.codes(b"\r\n") if final.startswith(b"334") else [])]

    def exported(self, client: TlsClient) -> bytes:
        """What the client's own OpenSSL has of the connection (RFC 9266 2)."""
        assert client.tls is not None
        return bytes(client.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b""))

    def test_bound(self) -> None:
        """SCRAM-SHA-256-PLUS works over TLS 1.3, however TLS began: both ends export the same octets."""
        for implicit in (False, True):
            site = self.site(implicit=implicit)
            client = connect(site) if implicit else secured(site, context(SSL.TLS1_3_VERSION))
            if implicit:
                client.start_tls()
                site.settle()
                client.heard()
            client.say(EHLO)
            self.assertEqual(["334", "235"], self.scram(client, self.exported(client)))

    def test_another_connection(self) -> None:
        """Somebody in between has two connections, and what is bound to the one does not fit the other."""
        site = self.site()
        client, other = secured(site), secured(site)
        client.say(EHLO)
        self.assertEqual(["535"], self.scram(client, self.exported(other)))
        ((_, failed),) = [line for line in site.log if line[0] == "auth-failed"]
        self.assertEqual("the channel binding is that of another connection", failed["reason"])

    def test_tls_1_2(self) -> None:
        """Below TLS 1.3 -PLUS is neither offered nor taken, and the rest works."""
        client = secured(self.site(), context(SSL.TLS1_2_VERSION))
        self.assertIn(b"250-AUTH SCRAM-SHA-256 PLAIN\r\n", client.say(EHLO))
        self.assertEqual(["504"], client.codes(b"AUTH SCRAM-SHA-256-PLUS\r\n"))
        self.assertEqual(["235"], client.codes(GOOD))

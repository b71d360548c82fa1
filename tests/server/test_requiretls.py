"""RFC 8689 as a server: REQUIRETLS of MAIL, and TLS-Required in the header."""

from __future__ import annotations

from mta.envelope import RequireTls
from tests.server.fakes import TRUSTED, Site
from tests.server.test_tls import EHLO, TlsCase
from tests.server.tls_client import TlsClient, connect, secured

MAIL = b"MAIL FROM:<a@b.test> REQUIRETLS\r\n"
REST = b"RCPT TO:<alice@local.test>\r\nDATA\r\n"
OK = b"250 2.1.0 Ok\r\n"
IN_CLEAR = b"530 5.7.10 REQUIRETLS needs TLS here already: say STARTTLS first\r\n"
UNKNOWN = b"555 5.5.4 Parameter not offered here: REQUIRETLS\r\n"
BAD = b"501 5.5.4 Parameter is malformed or given twice: REQUIRETLS\r\n"


class OfferTests(TlsCase):
    def greeted(self, site: Site, *, secure: bool) -> tuple[TlsClient, bytes]:
        client = secured(site) if secure else connect(site)
        if not secure:
            client.say(b"")
        return client, client.say(EHLO)

    def test_offers(self) -> None:
        """RFC 8689 2: the keyword is told within TLS alone, where the listener offers it, LMTP included."""
        for changed, secure, offered in (
            ({"requiretls": True}, False, False),
            ({"requiretls": True}, True, True),
            ({"requiretls": False}, True, False),
        ):
            with self.subTest(changed=changed, secure=secure):
                _client, reply = self.greeted(self.site(**changed), secure=secure)
                self.assertEqual(offered, b"250-REQUIRETLS\r\n" in reply)
        lmtp = connect(self.site(requiretls=True, role="lmtp"))
        lmtp.say(b"LHLO client.test\r\n")
        lmtp.say(b"STARTTLS\r\n")
        lmtp.start_tls()
        self.assertIn(b"250-REQUIRETLS\r\n", lmtp.say(b"LHLO client.test\r\n"))

    def test_parameter(self) -> None:
        """It has no value, comes once, and counts within TLS alone: 530 in clear, 555 where it is never offered."""
        for changed, secure, line, reply in (
            ({"requiretls": True}, True, MAIL, OK),
            ({"requiretls": True}, True, b"MAIL FROM:<> requiretls\r\n", OK),
            ({"requiretls": True}, True, b"MAIL FROM:<a@b.test> REQUIRETLS=yes\r\n", BAD),
            ({"requiretls": True}, True, b"MAIL FROM:<a@b.test> REQUIRETLS REQUIRETLS\r\n", BAD),
            ({"requiretls": True}, False, MAIL, IN_CLEAR),
            ({"requiretls": True}, False, b"MAIL FROM:<a@b.test> REQUIRETLS=yes\r\n", BAD),
            ({"requiretls": False}, True, MAIL, UNKNOWN),
            ({"requiretls": False}, False, MAIL, UNKNOWN),
        ):
            with self.subTest(changed=changed, secure=secure, line=line):
                client, _ = self.greeted(self.site(**changed), secure=secure)
                self.assertEqual(reply, client.say(line))

    def test_after_helo(self) -> None:
        """RFC 5321 4.1.1.11: behind HELO there are no parameters, TLS or not."""
        client = secured(self.site(requiretls=True))
        client.say(b"HELO client.test\r\n")
        self.assertEqual(UNKNOWN, client.say(MAIL))

    def test_listener_without_tls(self) -> None:
        """Where there is no TLS it is a parameter as any other that is not offered."""
        client = connect(Site(requiretls=True))
        client.say(EHLO)
        self.assertEqual(UNKNOWN, client.say(MAIL))

    def test_refused_and_sent_again(self) -> None:
        """A MAIL refused in clear leaves no transaction, and the same one is taken within TLS."""
        site = self.site(requiretls=True)
        client = connect(site)
        client.say(EHLO)
        self.assertEqual([b"530", b"503"], [client.say(line)[:3] for line in (MAIL, b"RCPT TO:<alice@local.test>\r\n")])
        client.say(b"STARTTLS\r\n")
        client.start_tls()
        client.say(EHLO)
        self.assertEqual(OK, client.say(MAIL))


class TagTests(TlsCase):
    """RFC 8689 4.1: how a message is tagged."""

    def sent(self, mail: bytes, content: bytes, *chunks: bytes) -> RequireTls | None:
        site = self.site(requiretls=True)
        client = secured(site, host=TRUSTED)
        client.say(EHLO + mail)
        if chunks:
            client.say(b"RCPT TO:<alice@local.test>\r\n")
            for chunk in (content, *chunks):
                client.say(b"BDAT %d\r\n" % len(chunk) + chunk)
            client.say(b"BDAT 0 LAST\r\n")
        else:
            client.say(REST)
            client.say(content + b".\r\n")
        ((entry, _origin, _claim),) = site.spool.committed
        return entry.require_tls

    def test_tags(self) -> None:
        """The parameter tags a message, else the header field does, once and with its one value; the parameter wins."""
        plain, no = b"Subject: x\r\n\r\nhi\r\n", b"TLS-Required: No\r\n\r\nhi\r\n"
        mail = b"MAIL FROM:<a@b.test>\r\n"
        for said, content, tag in (
            (mail, plain, None),
            (MAIL, plain, RequireTls.YES),
            (mail, no, RequireTls.NO),
            (MAIL, no, RequireTls.YES),
            (mail, b"tls-required:no\r\n\r\n", RequireTls.NO),
            (mail, b"Subject: x\r\nTLS-Required:\r\n NO \r\nX: y\r\n\r\n", RequireTls.NO),
            (mail, b"TLS-Required: Yes\r\n\r\n", None),
            (mail, b"TLS-Required: No, really\r\n\r\n", None),
            (mail, b"TLS-Required: No\r\nTLS-Required: No\r\n\r\n", None),
            (mail, b"Subject: x\r\n\r\nTLS-Required: No\r\n", None),
            (mail, b"Subject: x\r\n TLS-Required: No\r\n\r\n", None),
        ):
            with self.subTest(said=said, content=content):
                self.assertIs(tag, self.sent(said, content))

    def test_chunks(self) -> None:
        """The field is found where chunks cut its name and its value."""
        tag = self.sent(b"MAIL FROM:<a@b.test>\r\n", b"Subject: x\r\nTLS-Req", b"uired:\r\n", b" N", b"o\r\n\r\nhi\r\n")
        self.assertIs(RequireTls.NO, tag)

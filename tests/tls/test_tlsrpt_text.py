"""The TXT record of ``_smtp._tls``, against the grammar of RFC 8460 3."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.tls.tlsrpt_text import MAX_PLACES, Mail, TlsrptTextError, Web, places

MAIL = Mail("mailto:reports@example.test", Address("reports", "example.test"))
WEB = Web("https://reporting.example.test/v1/tlsrpt", "reporting.example.test", 443, "/v1/tlsrpt")


class GoodTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Each form that the grammar has is read."""
        for record, expected in (
            ("v=TLSRPTv1; rua=mailto:reports@example.test", (MAIL,)),
            ("v=TLSRPTv1;rua=https://reporting.example.test/v1/tlsrpt", (WEB,)),
            ("v=TLSRPTv1 \t;\t rua=mailto:reports@example.test ; ", (MAIL,)),
            ("v=TLSRPTv1;rua=mailto:reports@example.test;", (MAIL,)),
            (f"v=TLSRPTv1; rua={MAIL.uri},{WEB.uri}", (MAIL, WEB)),
            (f"v=TLSRPTv1; rua={WEB.uri}\t, {MAIL.uri}; x-y.z_1=a:b<c>d", (WEB, MAIL)),
            (f"v=TLSRPTv1; ext=1; rua={MAIL.uri}", (MAIL,)),
            (f"v=TLSRPTv1; RUA=other; rua={MAIL.uri}", (MAIL,)),
            (f"v=TLSRPTv1; rua={MAIL.uri}; rua={WEB.uri}", (MAIL,)),
            (f"v=TLSRPTv1; rua={MAIL.uri},{MAIL.uri}", (MAIL,)),
        ):
            self.assertEqual(expected, places([record.encode()]), record)

    def test_places(self) -> None:
        """What a URI names; who can't be delivered to is left out, and the others stay."""
        for uri, expected in (
            ("MAILTO:a@example.test", Mail("MAILTO:a@example.test", Address("a", "example.test"))),
            ("mailto:a%2Bb@example.test", Mail("mailto:a%2Bb@example.test", Address("a+b", "example.test"))),
            ("mailto:a@b.test?subject=x&bcc=c@d.test", Address("a", "b.test")),
            ("mailto:a%2Cb%40c.test@d.test", None),
            ("mailto:a%0D%0Ab@example.test", None),
            ("mailto:nobody", None),
            ("mailto:%C3%A4@example.test", None),
            ("https://h.test", Web("https://h.test", "h.test", 443, "/")),
            ("https://h.test:8443/a?b=c#d", Web("https://h.test:8443/a?b=c#d", "h.test", 8443, "/a?b=c")),
            ("HTTPS://H.test/", Web("HTTPS://H.test/", "h.test", 443, "/")),
            ("https://192.0.2.1/", None),
            ("https://[2001:db8::1]/", None),
            ("https://user@h.test/", None),
            ("https://h.test:99999/", None),
            ("https://h.test:0/", None),
            ("https://h_.test-/", None),
            ("https:///x", None),
            ("http://h.test/", None),
            ("ftp://h.test/", None),
        ):
            found = places([f"v=TLSRPTv1; rua={uri}".encode()])
            assert found is not None
            if isinstance(expected, Address):
                self.assertEqual([expected], [place.address for place in found if isinstance(place, Mail)], uri)
            else:
                self.assertEqual(() if expected is None else (expected,), found, uri)

    def test_many(self) -> None:
        """A record that lists a hundred places is not worth a hundred deliveries."""
        uris = ",".join(f"mailto:a{number}@example.test" for number in range(100))
        found = places([f"v=TLSRPTv1; rua={uris}".encode()])
        assert found is not None
        self.assertEqual(MAX_PLACES, len(found))

    def test_records_of_others(self) -> None:
        """RFC 8460 3: records that don't begin with the version are discarded before they are counted."""
        for record in (b"", b"v=spf1 -all", b"v=TLSRPTv1", b"v=TLSRPTv2; rua=mailto:a@b.test", b"V=TLSRPTv1; rua=x:y"):
            self.assertIsNone(places([record]), record)
            self.assertEqual((MAIL,), places([record, b"v=TLSRPTv1; rua=mailto:reports@example.test"]), record)
        self.assertIsNone(places([]))


class BadTests(SynchronousTestCase):
    def test_table(self) -> None:
        """What breaks the grammar is refused with its reason, in printable ASCII."""
        for record, words in (
            (b"v=TLSRPTv1;", "no rua"),
            (b"v=TLSRPTv1; ext=1", "no rua"),
            (b"v=TLSRPTv1; rua=", "URI is due"),
            (b"v=TLSRPTv1; rua=mailto:a@b.test,", "URI is due"),
            (b"v=TLSRPTv1; rua=,mailto:a@b.test", "URI is due"),
            (b"v=TLSRPTv1; rua=mailto:a!b@c.test", "URI is due"),
            (b"v=TLSRPTv1; rua=reports@example.test", "URI is due"),
            (b"v=TLSRPTv1; rua=mailto:", "URI is due"),
            (b"v=TLSRPTv1; rua=mailto:a b@c.test", "URI is due"),
            (b"v=TLSRPTv1; rua=mailto:a%zz@c.test", "URI is due"),
            (b"v=TLSRPTv1; rua=mailto:a@c.test mailto:b@c.test", "URI is due"),
            (b"v=TLSRPTv1; rua=1https://c.test/", "URI is due"),
            (b"v=TLSRPTv1; rua = mailto:a@c.test", "NAME=VALUE"),
            (b"v=TLSRPTv1;; rua=mailto:a@c.test", "NAME=VALUE"),
            (b"v=TLSRPTv1; rua=mailto:a@c.test;;", "NAME=VALUE"),
            (b"v=TLSRPTv1; rua=mailto:a@c.test; =x", "NAME=VALUE"),
            (b"v=TLSRPTv1; rua=mailto:a@c.test; x=", "NAME=VALUE"),
            (b"v=TLSRPTv1; rua=mailto:a@c.test; x=a=b", "NAME=VALUE"),
            (b"v=TLSRPTv1; rua=mailto:a@c.test; " + b"n" * 33 + b"=1", "NAME=VALUE"),
            (b"v=TLSRPTv1; rua=mailto:\xc3\xa4@c.test", "beyond ASCII"),
            (b"v=TLSRPTv1; \x00\x1b[2J", "NAME=VALUE"),
        ):
            error = self.assertRaises(TlsrptTextError, places, [record])
            self.assertIn(words, str(error), record)
            self.assertTrue(str(error).isprintable() and str(error).isascii())

    @given(
        st.one_of(st.binary(max_size=80), st.text("rua=mailto:hps/@.,;%![]?# vTLSRPT1x0-", max_size=80).map(str.encode))
    )
    def test_any_octets(self, rest: bytes) -> None:
        """Whatever stands behind the version, it is places or a sentence, and never another fault."""
        for record in (b"v=TLSRPTv1;" + rest, b"v=TLSRPTv1; rua=" + rest):
            try:
                found = places([record])
            except TlsrptTextError as error:
                self.assertTrue(str(error).isprintable())
            else:
                assert found is not None
                for place in found:
                    self.assertTrue(place.uri.isascii())
                    self.assertTrue(place.uri.isprintable())

    def test_two_records(self) -> None:
        """RFC 8460 3: with more than one record there is no TLSRPT."""
        record = b"v=TLSRPTv1; rua=mailto:a@b.test"
        self.assertIn("2 TXT records", str(self.assertRaises(TlsrptTextError, places, [record, record])))

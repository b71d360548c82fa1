"""The fields that a local message lacks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.message import completion
from mta.message.completion import Completion

SENDER = parse_address("alice@example.org")
DATE = b"Date: Mon, 23 Nov 2026 04:30:00 +0000\r\n"
FROM = b"From: <alice@example.org>\r\n"
IDENTITY = b"Message-ID: <ID@mx.test>\r\n"
FULL = b"Date: x\r\nFrom: y@x\r\nMessage-Id: z\r\n"


def completed(*pieces: bytes, sender: Address | None = SENDER, full_name: str = "") -> bytes:
    stream = Completion(sender=sender, full_name=full_name, hostname="mx.test", identity="ID", at=1795408200.9)
    return b"".join(map(stream.feed, pieces)) + stream.finish()


class CompletionTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Just the missing fields are added, and a text without a header becomes a body (RFC 5322 3.6, 2.1)."""
        for message, expected in (
            (FULL + b"\r\nbody\r\n", FULL + b"\r\nbody\r\n"),
            (b"Subject: s\r\n\r\nbody\r\n", DATE + FROM + IDENTITY + b"Subject: s\r\n\r\nbody\r\n"),
            (b"FROM : me@x\r\nDATE: d\r\n\r\n", IDENTITY + b"FROM : me@x\r\nDATE: d\r\n\r\n"),
            # A name inside a folded field or the body is no field.
            (
                b"Subject: s\r\n Date: x\r\n\r\nFrom: y\r\n",
                DATE + FROM + IDENTITY + b"Subject: s\r\n Date: x\r\n\r\nFrom: y\r\n",
            ),
            (b"hello\r\n", DATE + FROM + IDENTITY + b"\r\nhello\r\n"),
            (b"hello world: yes\r\n\r\nb\r\n", DATE + FROM + IDENTITY + b"\r\nhello world: yes\r\n\r\nb\r\n"),
            (b"Subject: s\r\nhello\r\n", DATE + FROM + IDENTITY + b"Subject: s\r\n\r\nhello\r\n"),
            (b"Subject: s\r\n", DATE + FROM + IDENTITY + b"Subject: s\r\n\r\n"),
            (b"\r\nhello\r\n", DATE + FROM + IDENTITY + b"\r\nhello\r\n"),
            (b"\r\n", DATE + FROM + IDENTITY + b"\r\n"),
            (b"", DATE + FROM + IDENTITY + b"\r\n"),
        ):
            self.assertEqual(expected, completed(message))

    def test_unqualified(self) -> None:
        """RFC 6409 4.2, 8: a From or Sender that is a name alone gets our domain; whatever else stands there stays."""
        for field, expected in (
            (b"From: alice\r\n", b"From: alice@mx.test\r\n"),
            (b"FROM :alice.b+c \t\r\n", b"FROM :alice.b+c@mx.test \t\r\n"),
            (b"Sender: <alice>\r\n", b"Sender: <alice@mx.test>\r\n"),
            (b"From: al'ice-1/2=3^4_5`6{7|8}9~\r\n", b"From: al'ice-1/2=3^4_5`6{7|8}9~@mx.test\r\n"),
            *(
                (same, same)
                for same in (
                    *(b"From: alice@x.test\r\n", b"From: <alice@x.test>\r\n", b"From: a b\r\n", b"From: A <a>\r\n"),
                    *(
                        b"From: a,b\r\n",
                        b"From: a, b\r\n",
                        b"From: a:;\r\n",
                        b"From: a;\r\n",
                        b'From: "a"\r\n',
                        b"From:\r\n",
                    ),
                    *(b"From: a (A)\r\n", b"From: <a\r\n", b"From: a>\r\n", b"From: <>\r\n", b"From: .a\r\n"),
                    *(b"From: a.\r\n", b"From: a..b\r\n", b"From: a\\b\r\n", b"From: [a]\r\n", b"From: \xc3\xa4\r\n"),
                    *(b"From: a\r\n b\r\n", b"From: a\r\n\t@x.test\r\n", b"From:\r\n a\r\n", b"From: a\rb\r\n"),
                    *(b"To: alice\r\n", b"Reply-To: alice\r\n", b"X-From: a\r\n", b"X: y\r\n From: a\r\n"),
                )
            ),
        ):
            message = FULL + field + b"\r\nFrom: body\r\n"
            self.assertEqual(FULL + expected + b"\r\nFrom: body\r\n", completed(message))

    def test_every_split(self) -> None:
        """However the content is cut, the result is the same."""
        for message in (b"Subject: s\r\n\r\nbody\r\n\r\nmore\r\n", b"hello\r\n\r\nx\r\n", b"\r\nbody\r\n"):
            whole = completed(message)
            for cut in range(len(message) + 1):
                self.assertEqual(whole, completed(message[:cut], message[cut:]))
            self.assertEqual(whole, completed(*(bytes([octet]) for octet in message)))

    def test_from(self) -> None:
        """From names the sender, with a display name that can't add a field; the postmaster for the null sender."""
        for sender, name, expected in (
            (SENDER, "Alice A.", b'From: "Alice A." <alice@example.org>\r\n'),
            (SENDER, "Ænne", b"From: =?utf-8?b?w4Zubg==?="),
            (SENDER, "x\r\nBcc: evil@x.test", b'From: "xBcc: evil@x.test" <alice@example.org>\r\n'),
            (None, "", b"From: <postmaster@mx.test>\r\n"),
        ):
            result = completed(b"\r\n", sender=sender, full_name=name)
            self.assertIn(expected if name != "Ænne" else b"From: =?utf-8?", result)
            self.assertEqual(4, result.count(b"\r\n"))

    def test_header_without_end(self) -> None:
        """A header over the limit passes as it is, and at once: nothing more is held in memory."""
        field = b"X: " + b"y" * 997 + b"\r\n"
        stream = Completion(sender=SENDER, full_name="", hostname="mx.test", identity="ID", at=0)
        passed = b"".join(stream.feed(field) for _ in range(400)) + stream.finish()
        self.assertEqual(field * 400, passed[-len(field) * 400 :])

        endless = b"x" * (completion.MAX_HEADER + 1)
        self.assertEqual(endless + b"more", completed(endless, b"more"))

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(
        st.lists(st.sampled_from([b"A: b\r\n", b" c\r\n", b"\r\n", b"text\r\n", b":\r\n", b"Date:\r\n", b"\t", b"\r"]))
    )
    def test_nothing_is_lost(self, pieces: list[bytes]) -> None:
        """Whatever comes in goes out, in order: what is added are whole fields before it and at most a blank line."""
        message = b"".join(pieces)
        result = completed(*pieces)
        self.assertTrue(result.replace(b"\r\n", b"").endswith(message.replace(b"\r\n", b"")), result)
        self.assertTrue(0 <= result.count(b"\r\n") - message.count(b"\r\n") <= 4, result)

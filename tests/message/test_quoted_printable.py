"""From 8 bits to 7: RFC 6152 3, RFC 2045 6.7."""

from __future__ import annotations

import base64
import email
import email.policy
import quopri
import time
from email.message import Message

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.quoted_printable import MAX_DEPTH, ConversionError, to_seven_bit

ENCODING = b"Content-Transfer-Encoding: 8bit\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
HIGH = "grüße\r\n".encode()


def leaves(content: bytes) -> list[tuple[str, bytes]]:
    """The type and the decoded content of each part that is no multipart, line ends as LF."""
    found: list[tuple[str, bytes]] = []

    def visit(part: Message) -> None:
        if part.is_multipart():
            for inner in part.get_payload():
                assert isinstance(inner, Message)
                visit(inner)
        else:
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            found.append((part.get_content_type(), payload.replace(b"\r\n", b"\n")))

    visit(email.message_from_bytes(content, policy=email.policy.compat32))
    return found


def message(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"b1", header: bytes = ENCODING) -> bytes:
    """A multipart of these parts."""
    start = (
        b"MIME-Version: 1.0\r\n" + header + b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"\r\n'
    )
    inside = b"".join(b"\r\n--" + boundary + b"\r\n" + part for part in parts)
    return start + b"\r\npreamble" + inside + b"\r\n--" + boundary + b"--\r\n"


class ConversionTests(SynchronousTestCase):
    def assert_same(self, content: bytes) -> bytes:
        """It converts to 7 bits in lines of at most 78 octets, and decodes to what it was."""
        converted = to_seven_bit(content)
        self.assertTrue(converted.isascii())
        self.assertEqual(leaves(content), leaves(converted))
        return converted

    def test_text(self) -> None:
        """A simple message gets another encoding, its other fields and its 7-bit octets stay."""
        content = b"Subject: x\r\nMIME-Version: 1.0\r\n" + ENCODING + TEXT + b"\r\na=b \r\n" + HIGH
        self.assertEqual(
            b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n"
            + TEXT
            + b"\r\na=3Db=20\r\ngr=C3=BC=C3=9Fe\r\n",
            self.assert_same(content),
        )

    def test_nothing_to_do(self) -> None:
        """A message of 7 bits is not touched, whatever its header says of it."""
        for content in (b"", b"x", b"A: b\r\n" + ENCODING + b"\r\nbody\r\n"):
            self.assertEqual(content, to_seven_bit(content))

    def test_untyped(self) -> None:
        """Text that says nothing of itself is declared as text of an unknown character set (RFC 1428 3)."""
        converted = to_seven_bit(b"Subject: x\r\n\r\n" + HIGH)
        self.assertIn(b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n", converted)
        self.assertEqual([("text/plain", HIGH.replace(b"\r\n", b"\n"))], leaves(converted))

    def test_seven_bit_parts_stay(self) -> None:
        """In a multipart only the parts of 8 bits change; a signature over the others still holds."""
        plain = TEXT + b"Content-Transfer-Encoding: 7bit\r\n\r\ntrailing = \t \r\n--x\r\n" + b"long " * 50
        encoded = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo="
        converted = self.assert_same(message(plain, TEXT + ENCODING + b"\r\n" + HIGH, encoded))
        self.assertIn(plain + b"\r\n--b1", converted)
        self.assertIn(encoded + b"\r\n--b1--", converted)
        self.assertTrue(converted.startswith(b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n"))

    def test_nested(self) -> None:
        """Multiparts inside multiparts, boundaries that begin alike, and messages inside parts (RFC 2046 5)."""
        inner = message(TEXT + b"\r\n" + HIGH, b"\r\nno header\r\n" + HIGH, boundary=b"b1x")
        enclosed = (
            b"Content-Type: message/rfc822\r\n"
            + ENCODING
            + b"\r\nSubject: in\r\nMIME-Version: 1.0\r\n"
            + TEXT
            + b"\r\n"
            + HIGH
        )
        converted = self.assert_same(message(inner, enclosed, b"Content-Type: text/html\r\n\r\n" + HIGH))
        self.assertNotIn(b"8bit", converted)

    def test_digest(self) -> None:
        """The parts of a digest are messages without being called so (RFC 2046 5.1.5)."""
        self.assert_same(message(b"\r\nSubject: x\r\nMIME-Version: 1.0\r\n" + TEXT + b"\r\n" + HIGH, kind=b"digest"))

    def test_body_without_a_blank_line(self) -> None:
        """A line that ends the header because of an octet in it does not become a field when that is encoded."""
        for entity in (b"Subject: x\r\n\xe9: y\r\n", b"\xe9: y\r\n", b"MIME-Version: 1.0\r\n\xe9\xe9: y\r\n"):
            converted = to_seven_bit(entity)
            header, body = converted.split(b"\r\n\r\n", 1)
            self.assertNotIn(b": y", header)
            self.assertTrue(quopri.decodestring(body).endswith(b"\xe9: y\r\n"))
        head = b"MIME-Version: 1.0\r\nContent-Type: a/b\r\n"
        for line_end in (b"", b"\r\n", b"\n"):
            header, body = to_seven_bit(head + line_end + b"\xe9: y", binary=True).split(b"\r\n\r\n", 1)
            self.assertEqual((b"base64", b"\xe9: y"), (header[-6:], base64.b64decode(body)))

    def test_ends(self) -> None:
        """A multipart without its last delimiter, without preamble, with octets where nobody looks."""
        part = TEXT + b"\r\n" + HIGH
        head = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n"
        for content in (
            head + b"--b1\r\n" + part,
            head + b"--b1  \r\n" + part + b"--b1--\r\n--b1\r\n" + HIGH,
            head + HIGH,
        ):
            converted = to_seven_bit(content)
            self.assertTrue(converted.isascii())
            self.assertEqual(content.count(b"--b1"), converted.count(b"--b1"))

    def test_line_length(self) -> None:
        """No encoded line is longer than 76 octets, and no code is cut (RFC 2045 6.7)."""
        for width in range(60, 90):
            converted = self.assert_same(b"MIME-Version: 1.0\r\n" + TEXT + b"\r\n" + b"x" * width + "äö ".encode() * 40)
            self.assertLessEqual(max(map(len, converted.split(b"\r\n"))), 76)

    def test_binary(self) -> None:
        """Of a binary message data go in base64, text in quoted-printable, each to the octet (RFC 3030 3)."""
        binary = b"Content-Transfer-Encoding: binary\r\n"
        data = b"Content-Type: image/png\r\n" + binary + b"\r\n"
        text = b"\xff\r\nbare\nlf\rcr\x00 \r\n" + b"long" * 300
        image = b"\x89PNG\r\n\x1a\n\r\r\n\n--b1\n\x00\r"
        enclosed = b"Content-Type: message/rfc822\r\n" + binary + b"\r\nSubject: in\r\n" + data + image
        content = message(TEXT + binary + b"\r\n" + text, data + image, data + b"plain", enclosed, header=binary)
        converted = to_seven_bit(content, binary=True)
        self.assertTrue(converted.isascii())
        self.assertEqual(converted.count(b"\r\n"), converted.count(b"\n"))
        self.assertEqual(converted.count(b"\r\n"), converted.count(b"\r"))
        self.assertLessEqual(max(map(len, converted.split(b"\r\n"))), 78)
        self.assertNotIn(b"binary", converted)
        decoded = [part.get_payload(decode=True) for part in email.message_from_bytes(converted).walk()]
        self.assertEqual([text, image, b"plain", image], [data for data in decoded if data is not None])

    def test_binary_alone(self) -> None:
        """A message that is nothing but data becomes base64; data of 7 bits in lines stay, and are called so."""
        head = b"MIME-Version: 1.0\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: %s\r\n\r\n"
        self.assertEqual(head % b"base64" + b"/wA=", to_seven_bit(head % b"binary" + b"\xff\x00", binary=True))
        self.assertEqual(head % b"7bit" + b"x\r\n", to_seven_bit(head % b"binary" + b"x\r\n", binary=True))

    def test_binary_refused(self) -> None:
        """A header that is none in 7 bits, and data that are encoded already and wrongly, are not guessed at."""
        for content in (b"A: b\nC: d\r\n\r\nx", b"A: \x00\r\n\r\nx", b"Content-Transfer-Encoding: base64\r\n\r\nx\ny"):
            self.assertRaises(ConversionError, to_seven_bit, content, binary=True)

    def test_refused(self) -> None:
        """What has no standard form in 7 bits is told, never guessed."""
        deep = TEXT + b"\r\n" + HIGH
        for number in range(MAX_DEPTH + 1):
            deep = message(deep, boundary=b"d%d" % number)
        for content in (
            b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\nx",
            b"Content-Transfer-Encoding: base64\r\n\r\n\xff",
            b"Content-Type: multipart/mixed\r\n\r\n\xff",
            b"Content-Type: message/partial\r\n\r\n\xff",
            deep,
        ):
            self.assertRaises(ConversionError, to_seven_bit, content)

    def test_hostile(self) -> None:
        """Megabytes that are made to cost time cost little."""
        head = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        began = time.process_time()
        for body in (b"\r\n--b" * 200_000, b"\r\n--b" + b" " * 1_000_000 + b"x", b"\r\n" * 500_000, b" " * 1_000_000):
            to_seven_bit(head + body + b"\xff")
        to_seven_bit(b"\r\n" + b"\xff" * 200_000)
        self.assertLess(time.process_time() - began, 10)

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(
        st.lists(
            st.lists(
                st.sampled_from(
                    [b"a", b"=", b" ", b"\t", b"\r\n", b".", b"From ", "ü".encode(), b"\x00", b"--b1", b"-" * 30]
                ),
                max_size=30,
            ).map(b"".join),
            min_size=1,
            max_size=3,
        )
    )
    def test_any_parts(self, bodies: list[bytes]) -> None:
        """Whatever stands in the parts, their decoded content is the same, and lines that were short stay so."""
        bodies = [body.replace(b"--b1", b"-b1") for body in bodies]
        self.assert_same(message(*(TEXT + ENCODING + b"\r\n" + body for body in bodies)))

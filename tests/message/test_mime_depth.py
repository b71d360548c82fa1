"""How deep parts are nested, at every split."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.headers import MAX_HEADERS
from mta.message.mime_depth import MAX_LINE, MimeDepth

MIXED = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n"
DIGEST = b"Content-Type: multipart/digest; boundary=%b\r\n\r\n"
MESSAGE = b"Content-Type: message/rfc822\r\n\r\n"
TEXT = b"Content-Type: text/plain\r\n\r\ntext\r\n"


def multipart(boundary: bytes, *parts: bytes, kind: bytes = MIXED) -> bytes:
    return (
        kind % boundary
        + b"preamble\r\n"
        + b"".join(b"--" + boundary + b"\r\n" + part for part in parts)
        + b"--"
        + boundary
        + b"--\r\n"
    )


def nested(levels: int, same: bool = False) -> bytes:
    content = TEXT
    for level in range(levels):
        content = multipart(b"same" if same else b"b%d" % level, TEXT, content, TEXT)
    return content


def too_deep(pieces: Iterable[bytes], limit: int = 100) -> bool:
    depth = MimeDepth(limit)
    for piece in pieces:
        depth.feed(piece)
    return depth.too_deep


def depth_of(content: bytes) -> int:
    """The least limit that the content passes."""
    return next(limit for limit in range(200) if not too_deep([content], limit))


def declared(content_type: bytes, boundary: bytes = b"x") -> bytes:
    """A part of a multipart that `content_type` opens, if it opens one, holds a message: one level more."""
    return b"Content-Type: " + content_type + b"\r\n\r\n--" + boundary + b"\r\n" + MESSAGE


# content -> its depth
CONTENTS = {
    b"": 0,
    b"\r\n": 0,
    b"no header\r\n": 0,
    b"Subject: x\r\n\r\n" + nested(3): 0,
    TEXT + MESSAGE + nested(3): 0,
    MESSAGE: 1,
    MESSAGE * 7: 7,
    MESSAGE.replace(b"\r", b"") * 7: 7,
    MESSAGE.replace(b"rfc822", b"global") * 3: 3,
    MESSAGE.replace(b"rfc822", b"partial") * 3: 0,
    nested(1): 1,
    nested(5): 5,
    nested(5).replace(b"\r\n", b"\n"): 5,
    nested(5, same=True): 5,
    nested(5).upper(): 5,
    # What was never ended ends with the multipart around it.
    multipart(b"out", *[MIXED % b"in" + b"--in\r\n" + TEXT] * 5): 2,
    multipart(b"out", *[MESSAGE + MIXED % b"in" + b"--in\r\n" + TEXT] * 5): 3,
    multipart(b"out", *[MESSAGE + TEXT] * 150): 2,
    # RFC 2046 5.1.5: the parts of a digest are messages, unless they say something else.
    multipart(b"out", *[b"\r\n" + TEXT] * 150, kind=DIGEST): 2,
    multipart(b"out", b"\r\n" + nested(3), kind=DIGEST): 5,
    multipart(b"out", b"\r\n" + b"Subject: x\r\n\r\n" + nested(3), kind=DIGEST): 2,
    multipart(b"out", TEXT, kind=DIGEST): 1,
    multipart(b"out", b"\r\n" + nested(3), kind=MIXED): 1,
    # RFC 2046 5.1.1: what follows the last delimiter is no part, and white space may follow a delimiter.
    multipart(b"out", TEXT) + b"--out\r\n" + MESSAGE: 1,
    MIXED % b"out" + b"--out \t\r\n" + MESSAGE: 2,
    MIXED % b"out" + b"-- out\r\n" + MESSAGE: 1,
    MIXED % b"out" + b" --out\r\n" + MESSAGE: 1,
    MIXED % b"out" + b"--outer\r\n" + MESSAGE: 1,
    MIXED % b"out" + b"--" + b"o" * 3000 + b"\r\n--out\r\n" + MESSAGE: 2,
    MIXED % b"out--" + b"--out--\r\n" + MESSAGE: 2,
    # A part without a blank line behind its header, or without either.
    b"Content-Type: multipart/mixed; boundary=x\r\n--x\r\n--x\r\n" + MESSAGE: 2,
    # How a Content-Type may be written (RFC 2045 5.1, RFC 5322 2.2.3).
    declared(b"multipart/mixed;boundary=x"): 2,
    declared(b"\r\n multipart/mixed;\r\n\tBOUNDARY =\r\n x ; a=b"): 2,
    declared(b'multipart/x; boundary="x"'): 2,
    declared(b'multipart/x; boundary="x'): 2,
    declared(b'multipart/x; boundary="a \\"b"', b'a "b'): 2,
    declared(b'multipart/x; name="; boundary=y \\"; boundary=y"; a=b; boundary=x'): 2,
    declared(b'multipart/x; name="; boundary=x"'): 0,
    declared(b"multipart/x; xboundary=x"): 0,
    declared(b"multipart/x; boundary="): 0,
    declared(b'multipart/x; boundary=""', b""): 0,
    declared(b"multipart/x"): 0,
    declared(b"multipartial/x; boundary=x"): 0,
    declared(b"multipart/x; boundary=" + b"x" * MAX_LINE, b"x" * MAX_LINE): 0,
    declared(b"multipart/x; boundary=" + b"x" * (MAX_LINE - 1), b"x" * (MAX_LINE - 1)): 2,
    declared(b"multipart/x; boundary=\xff", b"\xff"): 2,
}

WORDS = (
    *(b"Content-Type:", b"multipart/", b"digest", b"message/rfc822", b"; boundary=", b"\r\n\r\n", b"\r\n--a\r\n"),
    *(b"a", b"-", b"--", b"\r\n", b"\n", b"\r", b" ", b'"', b";", b"\\", b"\xff", b"\r\n--a--\r\n", b"\r\n--"),
    *(MESSAGE, MIXED % b"a", DIGEST % b"a", MIXED % b"aa", TEXT, b"x" * 1100),
)


class MimeDepthTests(SynchronousTestCase):
    def test_table(self) -> None:
        """RFC 2046 5.1, 5.2.1: each multipart and each message inside the message is one level, siblings are none."""
        for content, depth in CONTENTS.items():
            self.assertEqual(depth_of(content), depth, content[:300])

    def test_limit(self) -> None:
        """A hundred levels pass and one more does not, in multiparts or in messages; a long digest is flat."""
        for content, expected in (
            (nested(100), False),
            (nested(101), True),
            (nested(101, same=True), True),
            (MESSAGE * 100, False),
            (MESSAGE * 101, True),
            (multipart(b"out", *[MESSAGE + nested(98)] * 150), False),
            (multipart(b"out", *[MESSAGE + nested(98)] * 150, MESSAGE * 100), True),
        ):
            self.assertEqual(too_deep([content]), expected)
            self.assertEqual(too_deep(content[at : at + 7] for at in range(0, len(content), 7)), expected)

    def test_every_split(self) -> None:
        """However the network cuts the content in three, the depth is the same."""
        for content in (nested(3), multipart(b"o", b"\r\n" + MIXED % b"i" + b"--i\r\n" + MESSAGE * 2, kind=DIGEST)):
            depth = depth_of(content)
            for first in range(len(content) + 1):
                for second in range(first, len(content) + 1, 11):
                    pieces = [content[:first], content[first:second], content[second:]]
                    self.assertFalse(too_deep(pieces, depth))
                    self.assertTrue(too_deep(pieces, depth - 1))

    def test_octet_by_octet(self) -> None:
        """Also one octet at a time."""
        for content, depth in CONTENTS.items():
            octets = [content[index : index + 1] for index in range(len(content))]
            self.assertFalse(too_deep(octets, depth), content[:300])
            self.assertTrue(depth == 0 or too_deep(octets, depth - 1), content[:300])

    def test_finished(self) -> None:
        """What is no multipart is done with at the end of its header, a multipart at its last delimiter."""
        for content in (TEXT, b"Subject: x\r\n\r\n", MESSAGE + TEXT, nested(3), nested(101)):
            depth = MimeDepth(100)
            depth.feed(content[:12])
            self.assertFalse(depth.finished)
            depth.feed(content[12:])
            self.assertTrue(depth.finished, content)
            depth.feed(MESSAGE * 200)
            self.assertEqual(depth.too_deep, content == nested(101))

    def test_bounded(self) -> None:
        """A header or a delimiter without end is not kept, whatever the peer sends (RFC 5322 2.1.1)."""
        depth = MimeDepth(100)
        for _ in range(2 * MAX_HEADERS // 1000):
            depth.feed(b"X: " + b"x" * 995 + b"\r\n")
        self.assertTrue(depth.finished)
        depth = MimeDepth(100)
        depth.feed(MIXED % b"x" + b"--x\r\n")
        for _ in range(2 * MAX_HEADERS // 1000):
            depth.feed(b"x:" + b"x" * 998)
        self.assertLess(len(depth._held), 2000)
        depth.feed(b"\r\n--")
        for _ in range(100):
            depth.feed(b"x" * 1000)
            self.assertLess(len(depth._held), 3 * MAX_LINE)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from(WORDS), max_size=40), st.integers(1, 9), st.integers(0, 4))
    def test_cuts_are_invisible(self, words: list[bytes], size: int, limit: int) -> None:
        """Garbage never raises, and is as deep in pieces as it is at once."""
        content = b"".join(words) + b"\r\n"
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        self.assertEqual(too_deep(pieces, limit), too_deep([content], limit))

"""The dot decoder and encoder (RFC 5321 4.5.2)."""

from __future__ import annotations

import unittest
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.content import is_clean
from mta.smtp.dots import DotDecoder, DotEncoder


def decode(pieces: list[bytes], normalize: bool = False) -> tuple[bytes, DotDecoder]:
    """The content of a stream that comes in `pieces`, and the decoder behind it; what follows the end is `rest`."""
    decoder = DotDecoder(normalize)
    content = b""
    for number, piece in enumerate(pieces):
        content += decoder.feed(piece)
        if decoder.finished:
            decoder.rest += b"".join(pieces[number + 1 :])
            break
    return content, decoder


def encode(pieces: list[bytes]) -> bytes:
    encoder = DotEncoder()
    return b"".join(encoder.feed(piece) for piece in pieces) + encoder.finish()


def splits(wire: bytes) -> list[list[bytes]]:
    """`wire` whole, cut at each byte into two, and byte by byte."""
    return [
        [wire],
        *([wire[:cut], wire[cut:]] for cut in range(len(wire) + 1)),
        [wire[at : at + 1] for at in range(len(wire))],
    ]


# wire, content, bytes behind the end, bare newlines seen
DECODED = [
    (b".\r\n", b"", b"", False),
    (b"\r\n.\r\n", b"\r\n", b"", False),
    (b"a\r\n.\r\n", b"a\r\n", b"", False),
    (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n", False),
    (b"..a\r\n.\r\n", b".a\r\n", b"", False),
    (b"a\r\n..\r\n.\r\n", b"a\r\n.\r\n", b"", False),
    (b"a\r\n...b\r\n.\r\n", b"a\r\n..b\r\n", b"", False),
    (b".a\r\n.\r\n", b"a\r\n", b"", False),
    (b"a.\r\n.\r\n", b"a.\r\n", b"", False),
    (b"a\r\n\r\n\r\n.\r\n.\r\n", b"a\r\n\r\n\r\n", b".\r\n", False),
    (b"a\r\n. \r\n.\r\n", b"a\r\n \r\n", b"", False),
    # None of these ends the data (SMTP smuggling); a server that reads on to CRLF.CRLF sees one message.
    (b"a\n.\nMAIL\r\n.\r\n", b"a\n.\nMAIL\r\n", b"", True),
    (b"a\n.\r\nMAIL\r\n.\r\n", b"a\n.\r\nMAIL\r\n", b"", True),
    (b"a\r\n.\nMAIL\r\n.\r\n", b"a\r\n\nMAIL\r\n", b"", True),
    (b"a\r.\rMAIL\r\n.\r\n", b"a\r.\rMAIL\r\n", b"", True),
    (b"a\r.\r\nMAIL\r\n.\r\n", b"a\r.\r\nMAIL\r\n", b"", True),
    (b"a\r\n.\rMAIL\r\n.\r\n", b"a\r\n\rMAIL\r\n", b"", True),
    (b"a\r\r\n.\r\n", b"a\r\r\n", b"", True),
    (b"\n.\r\n\r\n.\r\n", b"\n.\r\n\r\n", b"", True),
    (b"\n\r\n.\r\n", b"\n\r\n", b"", True),
]

NORMALIZED = [
    (b"a\nb\r\n.\r\n", b"a\r\nb\r\n", b""),
    (b"a\rb\r\n.\r\n", b"a\r\nb\r\n", b""),
    (b"a\n.\r\nMAIL\r\n.\r\n", b"a\r\n.\r\nMAIL\r\n", b""),
    (b"a\n.\nMAIL\r\n.\r\n", b"a\r\n.\r\nMAIL\r\n", b""),
    (b"a\r\n.\nMAIL\r\n.\r\n", b"a\r\n\r\nMAIL\r\n", b""),
    (b"a\r.\r\nMAIL\r\n.\r\nQUIT", b"a\r\n.\r\nMAIL\r\n", b"QUIT"),
    (b"\n.\r\n\r\n.\r\n", b"\r\n.\r\n\r\n", b""),
    (b"a\r\r\n.\r\n", b"a\r\n\r\n", b""),
    (b"a\n..b\r\n.\r\n", b"a\r\n..b\r\n", b""),
]

# content, wire
ENCODED = [
    (b"", b".\r\n"),
    (b"a\r\n", b"a\r\n.\r\n"),
    (b"a", b"a\r\n.\r\n"),
    (b".", b"..\r\n.\r\n"),
    (b".\r\n", b"..\r\n.\r\n"),
    (b"a\r\n.b\r\n", b"a\r\n..b\r\n.\r\n"),
    (b"a.\r\n", b"a.\r\n.\r\n"),
    (b"\r\n", b"\r\n.\r\n"),
    (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"a\r.\rb\r", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"a\r\r\n", b"a\r\n\r\n.\r\n"),
    (b"a\n\r", b"a\r\n\r\n.\r\n"),
]


class DecoderTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Stuffed dots go, CRLF.CRLF alone ends the data, the rest is left over, at every split (RFC 5321 4.5.2)."""
        for wire, content, rest, bare in DECODED:
            for pieces in splits(wire):
                got, decoder = decode(pieces)
                self.assertEqual(
                    (content, rest, bare, True), (got, decoder.rest, decoder.bare_newlines, decoder.finished), pieces
                )

    def test_normalized(self) -> None:
        """With normalize, bare CR and LF become CRLF, and still do not end the data, at every split."""
        for wire, content, rest in NORMALIZED:
            for pieces in splits(wire):
                got, decoder = decode(pieces, normalize=True)
                self.assertEqual((content, rest), (got, decoder.rest), pieces)
                self.assertTrue(decoder.bare_newlines)

    def test_smuggling_ends_here(self) -> None:
        """What normalize makes of a smuggled end leaves with its dot stuffed: the next hop sees one message too."""
        content, _ = decode([b"a\n.\r\nMAIL FROM:<b@c>\r\n.\r\n"], normalize=True)
        again, decoder = decode([encode([content])])
        self.assertEqual((content, b"", False), (again, decoder.rest, decoder.bare_newlines))

    def test_long_lines(self) -> None:
        """Lines of up to 2000 octets with CRLF pass, one more is reported, at every chunk size (RFC 5321 4.5.3.1.6)."""
        line = b"x" * 1998 + b"\r\n"
        for wire, too_long in (
            (line * 3 + b".\r\n", False),
            (b"." + line * 3 + b".\r\n", False),  # a stuffed dot does not count
            (b"a\r\n" + line + b"." + line + b".\r\n", False),
            (line + b"y" + line + b".\r\n", True),
            (b"y" + line + line + b".\r\n", True),
            (b"a\r\n" * 900 + b"y" + line + b".\r\n", True),
            (b"y" * 2000 + b"\r\n.\r\n", True),
        ):
            for size in (1, 2, 3, 7, 1000, 1999, 2000, 2001, 4096, 65536):
                _, decoder = decode([wire[at : at + size] for at in range(0, len(wire), size)])
                self.assertEqual((True, too_long), (decoder.finished, decoder.long_line), (wire[:10], size))

    def test_state_is_small(self) -> None:
        """However long content goes on without an end, no more than four octets of it are kept."""
        decoder = DotDecoder()
        sent = kept = 0
        for piece in (b"\r\n.\r", b"x" * 70_000, b"\r\n.", b"\r", b"\r", b"\n") * 50:
            sent += len(piece)
            kept += len(decoder.feed(piece))
            held = decoder._held
            self.assertLessEqual(len(held), 4)
        self.assertFalse(decoder.finished)
        self.assertGreater(kept, sent * 0.99)


class EncoderTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Dots at line starts are doubled, bare CR and LF leave as CRLF, the end is added, at every split."""
        for content, wire in ENCODED:
            for pieces in splits(content):
                self.assertEqual(wire, encode(pieces), pieces)


_lines = st.lists(st.text(alphabet=".a \t", max_size=4).map(str.encode)).map(lambda lines: b"\r\n".join([*lines, b""]))
_hostile = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.\r\n"])).map(b"".join)


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[low:high] for low, high in pairwise(edges)]


class DotProperties(unittest.TestCase):
    @given(_lines, st.lists(st.integers(0, 999)), st.lists(st.integers(0, 999)))
    @settings(max_examples=150, deadline=None, derandomize=True)
    def test_round_trip(self, content: bytes, out: list[int], back: list[int]) -> None:
        """Decoding what was encoded gives the content back, however both were cut (invariant 3)."""
        wire = encode(_cut(content, out))
        got, decoder = decode(_cut(wire, back))
        self.assertEqual((content, b"", True, False), (got, decoder.rest, decoder.finished, decoder.bare_newlines))

    @given(_hostile)
    @settings(max_examples=150, deadline=None, derandomize=True)
    def test_encoder_emits_no_bare_newlines(self, content: bytes) -> None:
        """Whatever the content, the wire ends once, at its end, and has CRLF line ends only."""
        got, decoder = decode([encode([content])])
        self.assertEqual((b"", True, False), (decoder.rest, decoder.finished, decoder.bare_newlines))
        self.assertEqual(content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n"), _newlines(got, content))

    @given(_hostile, st.lists(st.integers(0, 99)), st.booleans())
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_segmentation_is_invisible(self, wire: bytes, places: list[int], normalize: bool) -> None:
        """Any bytes, cut anywhere, decode to the same content, rest and report (invariant 2)."""
        whole, one = decode([wire + b"\r\n.\r\n"], normalize)
        pieces, other = decode(_cut(wire + b"\r\n.\r\n", places), normalize)
        self.assertEqual(
            (whole, one.rest, one.bare_newlines, one.finished),
            (pieces, other.rest, other.bare_newlines, other.finished),
        )
        if normalize:
            self.assertEqual(whole.count(b"\n"), whole.count(b"\r\n"))
            self.assertEqual(whole.count(b"\r"), whole.count(b"\r\n"))


def _newlines(got: bytes, content: bytes) -> int:
    """Line ends in `got`, without the one that `finish` adds to a last line that has none."""
    added = 0 if not content or content.endswith((b"\r", b"\n")) else 1
    return got.count(b"\r\n") - added


class LineEndTests(unittest.TestCase):
    @given(st.lists(st.sampled_from((b"\r", b"\n", b"\r\n", b"a", b"\0", b"\x0b", b"\x85", b"\xff"))).map(b"".join))
    def test_clean_is_what_has_whole_line_ends_only(self, content: bytes) -> None:
        """Content is clean exactly where nothing of it is a CR or LF once its CRLFs are taken out."""
        lines = content.split(b"\r\n")
        self.assertEqual(not any(b"\r" in line or b"\n" in line for line in lines), is_clean(content))

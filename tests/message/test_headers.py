"""The header section: where it ends, counting hops at every split, reading fields."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.headers import MAX_HEADERS, HopCounter, field, header_block

MESSAGE = (
    b"Received: from a (a [192.0.2.1])\r\n\tby b;\r\n\tdate\r\n"
    b"RECEIVED : from c\r\n"
    b"X-Received: no\r\n"
    b"Subject: Received: no\r\n received: no, a continuation\r\n"
    b"received:x\r\n"
    b"\r\n"
    b"Received: no, this is the body\r\n"
)

# content -> (its header section, its hops)
SECTIONS = {
    b"": (b"", 0),
    b"\r\n": (b"", 0),
    b"\r\nReceived: body\r\n": (b"", 0),
    b"\nReceived: body\n": (b"", 0),
    b"no headers\r\nReceived: body\r\n": (b"", 0),
    b"Subject: x\r\n": (b"Subject: x\r\n", 0),
    b"Subject: x": (b"Subject: x", 0),
    b"Subject: x\r\nbody at once\r\nReceived: body\r\n": (b"Subject: x\r\n", 0),
    b"Received: x\nReceived: y\n\nReceived: z\n": (b"Received: x\nReceived: y\n", 2),
    b"Received: x\r\nReceived: y\n\r\nz": (b"Received: x\r\nReceived: y\n", 2),
    b"Received: x\r\n \r\nReceived: y\r\n\r\n": (b"Received: x\r\n \r\nReceived: y\r\n", 2),
    b"Received: x\r\r\nReceived: y\r\n\r\n": (b"Received: x\r\r\nReceived: y\r\n", 2),
    b"Receive: x\r\nReceivedd: x\r\n\r\n": (b"Receive: x\r\nReceivedd: x\r\n", 0),
    MESSAGE: (MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n", 3),
}

WORDS = (b"Received:", b"received ", b":", b"\r", b"\n", b"\r\n", b" ", b"\t", b"X", b"\xff", b"y" * 250)


def counted(pieces: Iterable[bytes]) -> tuple[int, bool]:
    counter = HopCounter()
    for piece in pieces:
        counter.feed(piece)
    return counter.hops, counter.finished


class HopCounterTests(SynchronousTestCase):
    def test_table(self) -> None:
        """RFC 5321 6.3: Received fields are counted in the header section and nowhere else."""
        for content, (_, hops) in SECTIONS.items():
            self.assertEqual(counted([content])[0], hops, content)

    def test_every_split(self) -> None:
        """However the network cuts the content in three, the count is the same."""
        whole = counted([MESSAGE])
        for first in range(len(MESSAGE) + 1):
            for second in range(first, len(MESSAGE) + 1, 7):
                self.assertEqual(counted([MESSAGE[:first], MESSAGE[first:second], MESSAGE[second:]]), whole)

    def test_octet_by_octet(self) -> None:
        """Also one octet at a time."""
        for content in SECTIONS:
            pieces = [content[index : index + 1] for index in range(len(content))]
            self.assertEqual(counted(pieces), counted([content]), content)

    def test_tls_required(self) -> None:
        """RFC 8689 3: the field says No once or nothing, in the header section alone, however it is cut."""
        for content, says_no in (
            (b"TLS-Required: No\r\n\r\n", True),
            (b"TLS-Required: No\r\n", True),
            (b"Received: x\r\ntls-required :\r\n\tno\r\nReceived: y\r\n\r\nbody\r\n", True),
            (b"TLS-Required: No\r\n body\r\n\r\n", False),
            (b"TLS-Required: Nothing\r\n\r\n", False),
            (b"TLS-Required:\r\n\r\nNo\r\n", False),
            (b"X-TLS-Required: No\r\n\r\n", False),
            (b"TLS-Required: No\r\nX: y\r\nTLS-Required: No\r\n\r\n", False),
            (b"Subject: x\r\n\r\nTLS-Required: No\r\n", False),
            (b"TLS-Required: No" + b" " * 2000 + b"but\r\n\r\n", False),
        ):
            for size in (1, 2, 3, 5, 17, len(content)):
                counter = HopCounter()
                for at in range(0, len(content), size):
                    counter.feed(content[at : at + size])
                self.assertIs(says_no, counter.tls_not_required, (content[:60], size))
                self.assertEqual(content.count(b"Received"), counter.hops)

    def test_finished(self) -> None:
        """It stops at the blank line, and costs nothing after that."""
        counter = HopCounter()
        counter.feed(b"Received: x\r\n\r")
        self.assertFalse(counter.finished)
        counter.feed(b"\n")
        self.assertTrue(counter.finished)
        counter.feed(b"Received: y\r\n")
        self.assertEqual(counter.hops, 1)

    def test_bounded(self) -> None:
        """A header section without end is given up after 256 KiB, at the same field for every cut."""
        hop = b"Received: from somewhere\r\n"
        content = hop * (MAX_HEADERS // len(hop) + 100)
        expected = MAX_HEADERS // len(hop), True
        self.assertEqual(counted([content]), expected)
        self.assertEqual(counted([content[:70_001], content[70_001:]]), expected)
        self.assertEqual(counted(content[at : at + 999] for at in range(0, len(content), 999)), expected)

    def test_long_lines_are_not_kept(self) -> None:
        """A line that never ends takes no memory, and still is what its beginning says."""
        counter = HopCounter()
        counter.feed(b"Received: ")
        for _ in range(100):
            counter.feed(b"x" * 1000)
        self.assertLess(len(counter._line), 1000)
        counter.feed(b"\r\nReceived: y\r\n")
        self.assertEqual(counter.hops, 2)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from(WORDS)), st.integers(1, 9))
    def test_cuts_are_invisible(self, words: list[bytes], size: int) -> None:
        """For any content: the same hops however it is cut, and those that stand in its header section."""
        content = b"".join(words) + b"\r\n"
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        self.assertEqual(counted(pieces), counted([content]))
        self.assertEqual(counted([header_block(content)])[0], counted([content])[0])


class HeaderBlockTests(SynchronousTestCase):
    def test_table(self) -> None:
        """RFC 5322 2.1: fields up to the blank line; a line that is no field ends them as well."""
        for content, (section, _) in SECTIONS.items():
            self.assertEqual(header_block(content), section, content)

    def test_bounded(self) -> None:
        """At most 256 KiB, cut behind a line where there is one."""
        block = header_block(b"Subject: x\r\n" * 40_000)
        self.assertLessEqual(len(block), MAX_HEADERS)
        self.assertTrue(block.endswith(b"x\r\n"))
        self.assertEqual(len(header_block(b"X: " + b"y" * 400_000)), MAX_HEADERS)


class FieldTests(SynchronousTestCase):
    def test_table(self) -> None:
        """RFC 5322 2.2.3: the first field of the name, in any case, unfolded and without the space around it."""
        headers = (
            b"Subject:  one\r\n\ttwo \r\n three  \r\nSUBJECT: second\r\nEmpty:\r\nX-Y : spaced\r\nBad: \xff\xc3\xa4\r\n"
        )
        table = {
            b"subject": "one\ttwo  three",
            b"Empty": "",
            b"X-Y": "spaced",
            b"Bad": "\ufffdä",
            b"ubject": None,
            b"X": None,
            b"X.Y": None,
        }
        for name, value in table.items():
            self.assertEqual(field(headers, name), value, name)

    def test_no_line_ends(self) -> None:
        """A value can't carry a line end into a log or another message."""
        self.assertEqual(field(b"X: a\rb\r\r\n c\n d\r\n", b"X"), "ab c d")
        self.assertIsNone(field(b"", b"X"))

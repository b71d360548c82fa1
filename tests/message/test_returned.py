"""The original made fit for a report."""

from __future__ import annotations

from email.message import EmailMessage
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from mta.message.returned import OriginalContent, normalized
from tests.message.reports import ORIGINAL, parsed, parts, report


class NormalizedTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Line ends, lone CR and LF, NUL, a missing last line end, and lines of 998 octets and one more."""
        table = {
            b"": b"",
            b"a\r\n": b"a\r\n",
            b"a": b"a\r\n",
            b"a\0b\rc\nd\r\n": b"a?b c\r\nd\r\n",
            b"x" * 998 + b"\r\n": b"x" * 998 + b"\r\n",
            b"x" * 999 + b"\r\n": b"x" * 997 + b"\r\n xx\r\n",
        }
        for data, expected in table.items():
            for is_whole in (True, False):
                self.assertEqual(
                    OriginalContent(expected, is_whole), normalized(OriginalContent(data, is_whole)), data[:9]
                )


class OriginalTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """RFC 6522 3: the whole original, octet for octet."""
        wire = report()
        self.assertIn(b"\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" + ORIGINAL, wire)

    def test_eight_bit(self) -> None:
        """RFC 2045 6.4: 8-bit content is declared on its part and on the whole, and only then."""
        wire = report(original=b"Subject: x\r\n\r\n\xc3\xa4\r\n")
        self.assertEqual(parsed(wire)["Content-Transfer-Encoding"], "8bit")
        self.assertEqual([part["Content-Transfer-Encoding"] for part in parts(wire)], ["7bit", "7bit", "8bit"])
        self.assertEqual(parsed(report())["Content-Transfer-Encoding"], "7bit")

    def test_headers_only(self) -> None:
        """RFC 6522 4: of a large original only the headers, whatever of the body was handed over."""
        part = parts(report(whole=False))[2]
        self.assertEqual(part.get_content_type(), "text/rfc822-headers")
        self.assertIn("Subject: hello", part.get_content())
        self.assertNotIn(b"Hello, Bob", report(whole=False))

    def test_missing(self) -> None:
        """An original that can't be read is left out: RFC 6522 3 makes the third part optional."""
        self.assertEqual(len(parts(report(original=None))), 2)

    def test_line_ends(self) -> None:
        """RFC 5321 2.3.8: no lone CR or LF leaves us, no NUL, no line above 998 octets; a field stays one field."""
        wire = report(original=b"X: a\rEvil: b\nSubject: \0" + b"y" * 5000 + b"\r\n\r\nend")
        for line in wire.split(b"\r\n"):
            self.assertLessEqual(len(line), 998)
        self.assertEqual((wire.count(b"\r"), wire.count(b"\n")), (wire.count(b"\r\n"),) * 2)
        self.assertNotIn(b"\0", wire)
        self.assertNotIn(b"\nEvil:", wire)
        self.assertTrue(wire.endswith(b"\r\n"))
        original = cast(EmailMessage, parts(wire)[2].get_content())
        self.assertEqual(original.keys(), ["X", "Subject"])

    def test_boundary(self) -> None:
        """RFC 2046 5.1.1: an original that holds the boundary, a report of ours for example, gets another one."""
        inner = report()
        wire = report(original=inner)
        self.assertEqual(len(parts(wire)), 3)
        self.assertIn(inner, wire)

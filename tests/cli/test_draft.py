"""Messages as programs write them on sendmail's standard input."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.cli.draft import copy_lines, recipients_in, take_header, without_blind


def copied(text: bytes, *, dot_ends: bool = False) -> bytes:
    target = io.BytesIO()
    size = copy_lines(io.BytesIO(text), target, dot_ends=dot_ends)
    assert size == len(target.getvalue())
    return target.getvalue()


class LineTests(SynchronousTestCase):
    def test_line_ends(self) -> None:
        """LF, CRLF and CR all end a line, the last line too; every line ends in CRLF then."""
        for text, expected in (
            (b"", b""),
            (b"a", b"a\r\n"),
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"a\rb", b"a\r\nb\r\n"),
            (b"a\n\n\nb", b"a\r\n\r\n\r\nb\r\n"),
            (b"a\r\r\nb", b"a\r\n\r\nb\r\n"),
        ):
            self.assertEqual(expected, copied(text), text)

    def test_lone_dot(self) -> None:
        """A dot alone on a line ends the message, unless -i says that it is text; other dots are text."""
        for text, ended, whole in (
            (b"a\n.\nb\n", b"a\r\n", b"a\r\n.\r\nb\r\n"),
            (b"a\r\n.\r\nb\r\n", b"a\r\n", b"a\r\n.\r\nb\r\n"),
            (b"..\n.x\n .\n", b"..\r\n.x\r\n .\r\n", b"..\r\n.x\r\n .\r\n"),
            (b".", b"", b".\r\n"),
        ):
            self.assertEqual(ended, copied(text, dot_ends=True), text)
            self.assertEqual(whole, copied(text), text)

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"x"]), max_size=12))
    def test_no_bare_newline_leaves(self, pieces: list[bytes]) -> None:
        """Whatever comes in, CR and LF leave only as pairs, and no other octet is lost."""
        text = b"".join(pieces)
        result = copied(text)
        self.assertEqual(result.count(b"\r\n"), result.count(b"\r"))
        self.assertEqual(result.count(b"\r\n"), result.count(b"\n"))
        strip = bytes.maketrans(b"", b"")
        self.assertEqual(text.translate(strip, b"\r\n"), result.translate(strip, b"\r\n"))


class HeaderTests(SynchronousTestCase):
    def test_recipients(self) -> None:
        """To, Cc and Bcc name the recipients; Resent- fields replace them; groups are opened (RFC 5322 3.4, 3.6.6)."""
        for header, expected in (
            (b"To: a@x.test\r\n", ["a@x.test"]),
            (
                b"To: A <a@x.test>, b@y.test\r\nCC: c@x.test\r\nbcc: d@x.test\r\n",
                ["a@x.test", "b@y.test", "c@x.test", "d@x.test"],
            ),
            (b"To: a@x.test,\r\n\tb@x.test\r\nTo: c@x.test\r\n", ["a@x.test", "b@x.test", "c@x.test"]),
            (b"To: undisclosed-recipients:;\r\nBcc: d@x.test\r\n", ["d@x.test"]),
            (b"To: friends: a@x.test, b@x.test;\r\n", ["a@x.test", "b@x.test"]),
            (b"To: root\r\n", ["root"]),
            (b'To: "b c"@x.test\r\n', ['"b c"@x.test']),
            (b'To: "Doe, J" <j@x.test>\r\n', ["j@x.test"]),
            (b"To: a@x.test\r\nResent-To: r@x.test\r\n", ["r@x.test"]),
            (b"Subject: To: x@x.test\r\n", []),
        ):
            self.assertEqual(expected, recipients_in(header), header)

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.binary(max_size=60))
    def test_any_header(self, octets: bytes) -> None:
        """Whatever stands in To, there are addresses or a ValueError."""
        try:
            found = recipients_in(b"To: " + octets + b"\r\n")
        except ValueError:
            return
        self.assertTrue(all(isinstance(address, str) for address in found))

    def test_bcc_is_removed(self) -> None:
        """Bcc goes with its folded lines, in any case; nothing else does."""
        header = b"To: a\r\nBCC : x,\r\n y\r\n\tz\r\nX-Bcc: stays\r\nResent-Bcc: w\r\nSubject: Bcc: s\r\n"
        self.assertEqual(b"To: a\r\nX-Bcc: stays\r\nSubject: Bcc: s\r\n", without_blind(header))

    def test_header_is_taken_off(self) -> None:
        """The file is left at the blank line, so that header and rest make the message again."""
        for text in (b"A: b\r\n\r\nbody\r\n\r\n", b"A: b\r\n", b"\r\nbody\r\n", b""):
            draft = io.BytesIO(text)
            header = take_header(draft)
            self.assertEqual(text, header + draft.read())
            self.assertNotIn(b"\r\n\r\n", header)

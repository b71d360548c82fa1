"""Fields made of anybody's text."""

from __future__ import annotations

from email.header import decode_header, make_header

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.message.folding import header_fields, one_line, unstructured


class FieldTests(SynchronousTestCase):
    def test_forced_folds(self) -> None:
        """A newline in a value folds there, an empty line of it makes none, and ASCII stays ASCII."""
        table = {
            ("a\nb", False): b"X: a\r\n    b\r\n",
            ("a\n\n \nb", False): b"X: a\r\n    b\r\n",
            ("a\r\nY: b", False): b"X: a\r\n    Y: b\r\n",
            ("é", False): b"X: ?\r\n",
            ("é", True): "X: é\r\n".encode(),
            ("a\x00\u2028\ud800b", True): b"X: a b\r\n",
        }
        for (value, utf8), expected in table.items():
            self.assertEqual(header_fields([("X", value)], utf8=utf8), expected)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.text(alphabet=st.sampled_from(list("aé\U0001f4e7 \n\r\t\x00\u2028:")) | st.characters(), max_size=600))
    def test_one_field(self, value: str) -> None:
        """Whatever the value: one field, whose lines go on after a space, are not blank and fit (RFC 5322 2.1.1)."""
        for utf8 in (False, True):
            lines = header_fields([("X", value)], utf8=utf8).split(b"\r\n")
            self.assertEqual(lines.pop(), b"")
            self.assertTrue(lines[0].startswith(b"X:"))
            for line in lines[1:]:
                self.assertTrue(line.startswith(b" "), lines)
                self.assertTrue(line.strip(b" "), lines)
            for line in lines:
                self.assertLessEqual(len(line), 998)
                self.assertFalse({0, 10, 13} & set(line))


class SubjectTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.text(max_size=200))
    def test_encoded_words(self, text: str) -> None:
        """RFC 2047: what is not ASCII becomes words of at most 75 characters that decode to the same text."""
        encoded = unstructured(text)
        self.assertTrue(encoded.isascii())
        if not one_line(text).isascii():
            self.assertTrue(all(len(word) <= 75 for word in encoded.split(" ")))
            self.assertEqual(str(make_header(decode_header(encoded))), one_line(text))

"""xtext (RFC 3461 4) and utf-8-addr-xtext (RFC 6533 3)."""

from __future__ import annotations

import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from mta import xtext

_TEXT = st.text(st.characters(codec="utf-8"))


class XtextTests(unittest.TestCase):
    def test_table(self) -> None:
        """The examples of RFC 3461 4 and RFC 6533 3, and what only they forbid."""
        for text, encoded in (("", ""), ("a+b=c d", "a+2Bb+3Dc+20d"), ("Bob@x.test", "Bob@x.test"), ("é", "+C3+A9")):
            self.assertEqual((encoded, text), (xtext.encode(text), xtext.decode(encoded)))
        for text, encoded in (("é+\\=", r"\x{E9}\x{2B}\x{5C}\x{3D}"), ("😀@x", r"\x{1F600}@x")):
            self.assertEqual((encoded, text), (xtext.encode_utf8(text), xtext.decode_utf8(encoded)))
        self.assertEqual("é+x@y", xtext.decode_utf8("é+x@y"))

    def test_malformed(self) -> None:
        """What is not encoded as it should be is an error, and no other."""
        for text in ("+", "+2", "+2b", "+GG", "a b", "a=b", "é", "+FF", "\ud800"):
            self.assertRaises(xtext.XtextError, xtext.decode, text)
        for text in ("\\", "\\x", "\\x{}", "\\x{e9}", "\\x{D800}", "\\x{110000}", "a b", "\x7f", "\udcff"):
            self.assertRaises(xtext.XtextError, xtext.decode_utf8, text)

    @given(_TEXT)
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_round_trip(self, text: str) -> None:
        """Whatever is encoded is an esmtp-value (RFC 5321 4.1.2), and decodes to what it was."""
        for encode, decode in ((xtext.encode, xtext.decode), (xtext.encode_utf8, xtext.decode_utf8)):
            encoded = encode(text)
            self.assertRegex(encoded, r"\A[!-<>-~]*\Z")
            self.assertEqual(text, decode(encoded))

    @given(st.text())
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_any_text(self, text: str) -> None:
        """No text makes a decoder raise anything but its error."""
        for decode in (xtext.decode, xtext.decode_utf8):
            try:
                decode(text)
            except xtext.XtextError:
                continue

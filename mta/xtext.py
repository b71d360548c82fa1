"""
Write text so that it fits into the value of a parameter, and read it back.

Owns: xtext (RFC 3461 4) for ENVID and for ORCPT of most address types, utf-8-addr-xtext (RFC 6533 3) for type utf-8.
Never: knows what a value means.
Fails: `XtextError` where text to be decoded is none of it.

``decode(encode(text)) == text`` for any text, and ``decode_utf8(encode_utf8(text)) == text`` as well.
"""

from __future__ import annotations

import re

# RFC 3461 4: xchar is printable ASCII without "+", which begins a hexchar, and "=", which a parameter has once.
_NOT_XCHAR = re.compile(rb"[^!-*,-<>-~]")
_XTEXT = re.compile(r"(?>(?:[!-*,-<>-~]|\+[0-9A-F]{2})*)")
_HEXCHAR = re.compile(rb"\+([0-9A-F]{2})")

# RFC 6533 3: QCHAR has no backslash either, which begins an EmbeddedUnicodeChar.
_NOT_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")
_EMBEDDED = re.compile(r"\\(?:x\{([0-9A-F]{2,6})\})?")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]")


class XtextError(ValueError):
    """Text that is not encoded as it should be."""


def encode(text: str) -> str:
    """`text` as xtext; what is not ASCII goes by its octets in UTF-8."""
    return _NOT_XCHAR.sub(lambda found: b"+%02X" % ord(found[0]), text.encode()).decode("ascii")


def decode(xtext: str) -> str:
    """The text that `encode` was given. Raises `XtextError`; RFC 3461 4 has hexadecimal digits in upper case only."""
    if not _XTEXT.fullmatch(xtext):
        raise XtextError("not xtext")
    octets = _HEXCHAR.sub(lambda found: bytes((int(found[1], 16),)), xtext.encode("ascii"))
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise XtextError("not UTF-8 inside xtext") from None


def encode_utf8(text: str) -> str:
    """`text` as utf-8-addr-xtext: pure ASCII, for a next hop with or without SMTPUTF8."""
    return _NOT_QCHAR.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", text)


def decode_utf8(text: str) -> str:
    """
    The text that `encode_utf8` was given, out of utf-8-addr-xtext or utf-8-addr-unitext. Raises `XtextError`.

    A "+" may stand as it is, which RFC 6533 does not have but senders do.
    """
    if _CONTROL.search(text):
        raise XtextError("white space, control characters or no UTF-8")
    return _EMBEDDED.sub(_character, text)


def _character(found: re.Match[str]) -> str:
    digits = found[1]
    if digits is None:
        raise XtextError("a backslash without x{...} behind it")
    point = int(digits, 16)
    if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        raise XtextError("no character of Unicode")
    return chr(point)

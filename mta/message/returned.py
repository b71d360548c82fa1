"""
Put the original message, or its header section, into a report.

Owns: how it is made fit to stand in a message of ours, and as which type and in which encoding it goes (RFC 6522 3 and
4, RFC 6533 4).
Never: decides how much of it goes along, or trusts it.
Fails: never; what can go no other way goes as its header section alone.

A report must arrive where its reader's server is old: whatever the original holds, with `utf8` false the part is 7-bit,
or 8-bit in such a way that the client can convert it (`mta/message/quoted_printable.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.message.folding import MAX_LINE
from mta.message.headers import header_block
from mta.message.mime_part import encoding_of, part
from mta.message.quoted_printable import ConversionError, encoded, to_seven_bit

_LONE_CR = re.compile(rb"\r(?!\n)")
_LONE_LF = re.compile(rb"(?<!\r)\n")


@dataclass(frozen=True, slots=True)
class OriginalContent:
    """What goes along of the original message: all of it, or its header section."""

    data: bytes
    is_whole: bool


def normalized(original: OriginalContent) -> OriginalContent:
    """
    The original as it may stand in a message of ours.

    Lines end in CRLF and have at most 998 octets. A lone CR becomes a space, which makes no line that was not there; a
    NUL, which no encoding but base64 may hold (RFC 2045 2.8), becomes a question mark.
    """
    data = original.data.replace(b"\0", b"?")
    lines = data.split(b"\r\n")
    text = b"".join(lines)
    if b"\r" in text or b"\n" in text:
        data = _LONE_LF.sub(b"\r\n", _LONE_CR.sub(b" ", data))
        lines = data.split(b"\r\n")
    if lines[-1]:
        data += b"\r\n"
        lines.append(b"")
    if max(map(len, lines)) > MAX_LINE:
        data = b"\r\n".join(_cut(line) if len(line) > MAX_LINE else line for line in lines)
    return OriginalContent(data, original.is_whole)


def _cut(line: bytes) -> bytes:
    """A long line in pieces, each but the first after a space: a field stays one, as Postfix does it."""
    size = MAX_LINE - 1
    return b"\r\n ".join(line[start : start + size] for start in range(0, len(line), size))


def returned(original: OriginalContent, *, utf8: bool) -> bytes:
    """The part of a report that has the original, which is `normalized`; `utf8` where the report takes SMTPUTF8."""
    headers = header_block(original.data)
    return (original.is_whole and _message(original.data, headers, utf8)) or _headers(headers, utf8)


def _message(content: bytes, headers: bytes, utf8: bool) -> bytes | None:
    """All of the message; None where no type is right for it."""
    if utf8:  # RFC 6531 3.1: who takes SMTPUTF8 takes 8BITMIME
        kind = "message/global" if _is_utf8(headers) else "message/rfc822"
        return part(kind, encoding_of(content), content)
    if _is_convertible(content):
        return part("message/rfc822", encoding_of(content), content)
    # RFC 6533 4.1: "MUST be encoded using a 7-bit Content-Transfer-Encoding", which RFC 2046 5.2.1 forbids for
    # message/rfc822 and RFC 6532 3.7 allows here. Who does not know the type may still read quoted-printable.
    return part("message/global", "quoted-printable", encoded(content)) if _is_utf8(headers) else None


def _headers(headers: bytes, utf8: bool) -> bytes:
    is_utf8 = _is_utf8(headers)
    if is_utf8 and utf8:
        return part("message/global-headers", encoding_of(headers), headers)
    if headers.isascii():
        return part("text/rfc822-headers", "7bit", headers)
    # RFC 6522 4: headers that are no "legal 7-bit content" may be encoded so.
    kind = "message/global-headers" if is_utf8 else "text/rfc822-headers"
    return part(kind, "quoted-printable", encoded(headers))


def _is_convertible(content: bytes) -> bool:
    """Whether it has 7 bits, or the client can give it 7 bits for a server without 8BITMIME."""
    try:
        to_seven_bit(content)
    except ConversionError:
        return False
    return True


def _is_utf8(headers: bytes) -> bool:
    try:
        headers.decode()
    except UnicodeDecodeError:
        return False
    return True

"""
Convert a message with 8-bit or binary content to one of 7 bits (RFC 6152 3, RFC 3030 3, RFC 2045 6.7, 6.8).

Owns: which parts are encoded, and how: text in quoted-printable, binary data in base64; the fields that say so.
Never: changes a part that has 7 bits already, or a header field but Content-Transfer-Encoding.
Fails: `ConversionError` where no standard way leads to 7 bits; nothing is guessed.
"""

from __future__ import annotations

import base64
import re

from mta.message.headers import field, header_block

# DEFAULTS: MIME depth 100.
MAX_DEPTH = 100

_BOUNDARY = re.compile(r';\s*+boundary\s*+=\s*+(?:"((?>(?:[^"\\]|\\.)*))"|([^\s;"]++))', re.IGNORECASE)
_QUOTED_PAIR = re.compile(r"\\(.)")
_ENCODING = re.compile(
    rb"^content-transfer-encoding[ \t]*+:[^\n]*+\n?(?>(?:[ \t][^\n]*+\n?)*)", re.IGNORECASE | re.MULTILINE
)
# RFC 2045 6.7: what may stand for itself; a blank at the end of a line may not.
_TO_ENCODE = re.compile(rb"[^!-<>-~ \t]|[ \t]\Z")
# RFC 2045 2.7: what no line of 7 bits or 8 bits may hold. RFC 5322 2.1.1 has 998 octets for it.
_NO_LINES = re.compile(rb"\x00|\r(?!\n)|(?<!\r)\n|[^\n]{999}")
_HIGH = re.compile(rb"[\x80-\xff]")
_LINE = 76
# RFC 2046 5.2.1: what is in them is a message, and no encoding may be put on it.
_MESSAGES = frozenset(("message/rfc822", "message/global", "message/news"))
_IN_SEVEN_BITS_ONLY = frozenset(("message/partial", "message/external-body"))
# RFC 1428 3: text of which nobody knows the character set.
_UNTYPED = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"


class ConversionError(ValueError):
    """A message that can't be converted; the text says why."""


def to_seven_bit(content: bytes, *, binary: bool = False) -> bytes:
    """
    The message with each part of 8 bits in quoted-printable. Lines end in CRLF. Raises `ConversionError`.

    With `binary` a part may be anything: what is no text goes in base64.
    """
    return _converted(content, "text/plain", 0, binary)


def _is_fit(entity: bytes, binary: bool) -> bool:
    """Whether it is in 7 bits, and where nobody has looked at its lines yet, these are ones."""
    return entity.isascii() and not (binary and _NO_LINES.search(entity))


def _converted(entity: bytes, default_type: str, depth: int, binary: bool) -> bytes:
    """An entity (RFC 2045 2.4), the message itself at depth 0; `default_type` is meant where it names none."""
    if not binary and entity.isascii():
        return entity
    if depth > MAX_DEPTH:
        raise ConversionError(f"its parts are nested more than {MAX_DEPTH} deep")
    header = header_block(entity)
    if not header.isascii():
        raise ConversionError("a header has octets that are not ASCII")  # RFC 6531 is about these, RFC 6152 is not
    if not _is_fit(header, binary):
        raise ConversionError("a header has a NUL, a bare CR or LF, or a line that is too long")
    body = entity[len(header) :]
    # Where no blank line ends the header, the first line of the body has to be kept from becoming a field: "\xe9:" is
    # none, and "=E9:" would be one.
    blank = b"" if not body or body.startswith((b"\r\n", b"\n")) else b"\r\n"
    told_type = field(header, b"content-type")
    kind = (told_type or default_type).partition(";")[0].strip().lower()
    encoding = (field(header, b"content-transfer-encoding") or "7bit").partition(";")[0].strip().lower()
    is_encoded = encoding not in ("7bit", "8bit", "binary")
    if is_encoded and _is_fit(body, binary):
        return entity
    if is_encoded:
        raise ConversionError(f"a part is {encoding!a} by its header and has octets or lines that can't be")
    if kind.startswith("multipart/"):
        inner = "message/rfc822" if kind == "multipart/digest" else "text/plain"  # RFC 2046 5.1.5
        parts = _converted_parts(body, _boundary(told_type or ""), inner, depth, binary)
        return _relabelled(header, b"7bit") + blank + parts
    if kind in _MESSAGES:
        message = _converted(body.removeprefix(b"\r\n"), "text/plain", depth + 1, binary)
        return _relabelled(header, b"7bit") + b"\r\n" + message
    if _is_fit(body, binary):
        return (_relabelled(header, b"7bit") if encoding == "binary" else header) + body
    if kind in _IN_SEVEN_BITS_ONLY:
        raise ConversionError(f"a part is {kind} and has octets that are not ASCII")  # RFC 2046 5.2.2
    if depth == 0 and field(header, b"mime-version") is None:
        header += _UNTYPED if told_type is None else b"MIME-Version: 1.0\r\n"
    if binary and not kind.startswith("text/"):
        return _relabelled(header, b"base64") + b"\r\n" + _in_base64(body)
    return _relabelled(header, b"quoted-printable") + blank + encoded(body)


def _boundary(content_type: str) -> bytes:
    found = _BOUNDARY.search(content_type)
    text = (_QUOTED_PAIR.sub(r"\1", found[1]) if found[1] is not None else found[2]) if found else ""
    if not text:
        raise ConversionError("a multipart names no boundary")
    return text.rstrip().encode("ascii", "replace")


def _converted_parts(body: bytes, boundary: bytes, default_type: str, depth: int, binary: bool) -> bytes:
    """The body of a multipart, from the blank line before it; delimiters stay as they are (RFC 2046 5.1.1)."""
    # In binary data a bare LF is no line end; in text that came so before it was checked, it was one.
    start_of_line = rb"(?:\A|\r\n)--" if binary else rb"(?:\A|\r?\n)--"
    delimiter = re.compile(start_of_line + re.escape(boundary) + rb"(--)?[ \t]*+(?:(?=\r?\n)|\Z)")
    pieces: list[bytes] = []
    start, is_part = 0, False
    for found in delimiter.finditer(body):
        pieces.append(_piece(body[start : found.start()], is_part, default_type, depth, binary))
        pieces.append(found[0])
        start, is_part = found.end(), found[1] is None
        if not is_part:
            break
    pieces.append(_piece(body[start:], is_part, default_type, depth, binary))
    return b"".join(pieces)


def _piece(piece: bytes, is_part: bool, default_type: str, depth: int, binary: bool) -> bytes:
    if not is_part:  # RFC 2046 5.1.1: a preamble or an epilogue, which nobody is to look at
        if _is_fit(piece, binary):
            return piece
        return b"\r\n" if binary else _HIGH.sub(b"?", piece)
    if not binary and piece.isascii():
        return piece
    line_end = b"\r\n" if piece.startswith(b"\r\n") else b"\n"  # of the delimiter
    return line_end + _converted(piece[len(line_end) :], default_type, depth + 1, binary)


def _relabelled(header: bytes, encoding: bytes) -> bytes:
    """The header with this one Content-Transfer-Encoding, in the place of the old one or at the end."""
    told = b"Content-Transfer-Encoding: %s\r\n" % encoding
    found = _ENCODING.search(header)
    if found:
        return header[: found.start()] + told + _ENCODING.sub(b"", header[found.end() :])
    if header and not header.endswith(b"\n"):
        header += b"\r\n"
    return header if encoding == b"7bit" else header + told


def _in_base64(body: bytes) -> bytes:
    """The data behind the blank line, where there is one (RFC 2045 6.8)."""
    data = body[1:] if body.startswith(b"\n") else body.removeprefix(b"\r\n")
    return base64.encodebytes(data).rstrip(b"\n").replace(b"\n", b"\r\n")


def encoded(body: bytes) -> bytes:
    """Quoted-printable (RFC 2045 6.7); a CRLF is a line end, a bare CR or LF is data."""
    return b"\r\n".join(map(_encoded_line, body.split(b"\r\n")))


def _encoded_line(line: bytes) -> bytes:
    text = _TO_ENCODE.sub(lambda found: b"=%02X" % found[0][0], line)
    if len(text) <= _LINE:
        return text
    rows: list[bytes] = []
    start = 0
    while len(text) - start > _LINE:
        end = start + _LINE - 1  # room for the soft line break
        if text[end - 1] == 0x3D:
            end -= 1
        elif text[end - 2] == 0x3D:
            end -= 2
        rows.append(text[start:end] + b"=")
        start = end
    rows.append(text[start:])
    return b"\r\n".join(rows)

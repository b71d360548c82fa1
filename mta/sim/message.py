"""
The messages of a simulation: each can be told by its token, and checked to the last octet.

Owns: what a message with a token and a size looks like, and finding the token, and our queue id, again wherever the
message came to.
Never: sends one.
"""

from __future__ import annotations

import re

from mta.ids import parse_id

# Lines that a fault in the transparency of dots (RFC 5321 4.5.2) would spoil.
_LINES = (
    b".\r\n",
    b"..\r\n",
    b".x\r\n",
    b"An ordinary line of a message, of the length that people like to write.\r\n",
)
_BLOCK = b"".join(_LINES) * 64
# Nothing but dots: wherever such a message is cut, a line is likely to begin there.
_DOTS = b"".join(_LINES[:3]) * 500
_FIELD = b"X-Token: "
# Our trace field, behind a mailbox's Return-Path; and what a report of ours has in its place.
_RECEIVED = re.compile(rb"(?:Return-Path:[^\n]*\n)?Received:(?:[^\n]*\n[ \t])*?[^\n]*?\bid\s+([0-9A-Z]{13})\b")
_REPORT = re.compile(rb"(?:^|\n)Message-ID: <([0-9A-Z]{13})@")
_HEADER = re.compile(rb"\r?\n\r?\n")
_TOKEN = re.compile(rb"(?:^|\n)X-Token: ([0-9]+)\r?\n")


def compose(token: int, size: int) -> bytes:
    """The message, about `size` octets long, always the same for the same arguments."""
    head = b"%s%d\r\nSubject: message %d\r\n\r\n" % (_FIELD, token, token)
    wanted = max(0, size - len(head))
    block = _BLOCK if token % 2 else _DOTS
    body = (block * (wanted // len(block) + 1))[:wanted]
    # The cut must not leave half a line end, nor a message that ends without one (RFC 5321 4.1.1.4).
    body = body[: body.rfind(b"\r\n") + 2] if b"\r\n" in body else b"\r\n"
    return head + body


def token_of(content: bytes) -> int | None:
    """The token of the message in `content`, which may have trace fields in front, or of the one that it returns."""
    found = _TOKEN.search(content)
    return int(found[1]) if found else None


def own_token_of(content: bytes) -> int | None:
    """The token of the message in `content` itself: a report has the one of what it returns, and none of its own."""
    return token_of(_HEADER.split(content, 1)[0] + b"\n")


def queue_id_of(content: bytes) -> int | None:
    """Our queue id of a message that came from us, or that we have in a mailbox."""
    found = _RECEIVED.match(content) or _REPORT.search(content)
    try:
        return parse_id(found[1].decode("ascii")) if found else None
    except ValueError:
        return None


def is_whole(content: bytes, token: int, size: int) -> bool:
    """Whether `content` is the message, with nothing but header fields in front of it."""
    at = content.find(b"%s%d\r\n" % (_FIELD, token))
    return at >= 0 and content[at:] == compose(token, size)

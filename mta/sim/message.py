"""
The messages of a simulation: each can be told by its token, and checked to the last octet.

Owns: what a message with a token and a size looks like, and finding the token again wherever the message came to.
Never: sends one.
"""

from __future__ import annotations

import re

# Lines that a fault in the transparency of dots (RFC 5321 4.5.2) would spoil.
_LINES = (
    b".\r\n",
    b"..\r\n",
    b".x\r\n",
    b"An ordinary line of a message, of the length that people like to write.\r\n",
)
_BLOCK = b"".join(_LINES) * 64
_FIELD = b"X-Token: "
_TOKEN = re.compile(rb"(?:^|\n)X-Token: ([0-9]+)\r?\n")


def compose(token: int, size: int) -> bytes:
    """The message, about `size` octets long, always the same for the same arguments."""
    head = b"%s%d\r\nSubject: message %d\r\n\r\n" % (_FIELD, token, token)
    wanted = max(0, size - len(head))
    body = (_BLOCK * (wanted // len(_BLOCK) + 1))[:wanted]
    # The cut must not leave half a line end, nor a message that ends without one (RFC 5321 4.1.1.4).
    body = body[: body.rfind(b"\r\n") + 2] if b"\r\n" in body else b"\r\n"
    return head + body


def token_of(content: bytes) -> int | None:
    """The token of the message in `content`, which may have trace fields in front, or of the one that it returns."""
    found = _TOKEN.search(content)
    return int(found[1]) if found else None


def is_whole(content: bytes, token: int, size: int) -> bool:
    """Whether `content` is the message, with nothing but header fields in front of it."""
    at = content.find(b"%s%d\r\n" % (_FIELD, token))
    return at >= 0 and content[at:] == compose(token, size)

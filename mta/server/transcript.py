"""
The last lines of a session that makes errors.

Owns: how many are kept, and what of them: no content, no secrets.
Never: decides when it is told.
"""

from __future__ import annotations

from collections import deque

LINES = 30
# Octets of one line: 30 of them stay below 8 KiB.
WIDTH = 256


class Transcript:
    """Keeps the last lines of both sides. It begins with a session's first error, so that others pay nothing for it."""

    __slots__ = ("_lines", "_secret")

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=LINES)
        self._secret = False

    def said(self, line: bytes, secret: bool = False) -> None:
        """
        The client sent a line; `secret` is a response to AUTH.

        Of AUTH and of the line behind it nothing is kept: they may hold a password.
        """
        was_secret, self._secret = self._secret or secret, line[:4].upper() == b"AUTH"
        self._lines.append(b"C: ..." if was_secret or self._secret else b"C: " + line[:WIDTH])

    def replied(self, wire: bytes) -> None:
        """The server sent a reply."""
        self._lines.append(b"S: " + wire[:WIDTH].rstrip(b"\r\n"))

    def __str__(self) -> str:
        """All on one line, with everything but printable ASCII escaped."""
        return " | ".join(line.decode("latin-1").encode("unicode_escape").decode("ascii") for line in self._lines)

"""
Read a server's replies from the bytes of a connection.

Owns: the grammar of a reply (RFC 5321 4.2), and what of its breaches is tolerated: a bare LF as line end, a code alone.
Never: knows which command a reply answers.
Fails: `ReplyError` for what is no reply or too long for one. The two sides are out of step then: there is no going on.
"""

from __future__ import annotations

import re

from mta.reply import Reply, split_enhanced

# RFC 5321 4.5.3.1.5 allows 512 octets. Servers that explain a refusal at length go beyond; nobody needs this much.
MAX_LINE = 10_240
MAX_LINES = 100
MAX_REPLY = 65_536

# RFC 5321 4.2: the first digit is 2 to 5 (1yz is in no SMTP extension). The code alone is a line of many servers, and
# clients are told to take it. The text may hold any octet, a bare CR included.
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_EXCERPT = 60


class ReplyError(ValueError):
    """Bytes that are no reply; `str()` of it says why, with an excerpt that is safe to log."""


class ReplyParser:
    """
    Parses one connection's replies.

    Give it bytes with `feed`, then take replies with `next_reply` until there is none: then it holds less than one
    line, and the lines of one reply, within the limits above.
    """

    __slots__ = ("_buffer", "_code", "_lines", "_octets")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._code = b""
        self._lines: list[str] = []
        self._octets = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes from the server."""
        self._buffer += data

    def next_reply(self) -> Reply | None:
        """The next whole reply, or None until more has come. Raises `ReplyError`."""
        while (line := self._next_line()) is not None:
            reply = self._add(line)
            if reply is not None:
                return reply
        return None

    def _next_line(self) -> bytes | None:
        """The next line without its end."""
        end = self._buffer.find(b"\n", 0, MAX_LINE)
        if end < 0:
            if len(self._buffer) >= MAX_LINE:
                raise ReplyError(f"a line of more than {MAX_LINE} octets: {_excerpt(self._buffer)}")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._octets += end + 1
        return line.rstrip(b"\r")

    def _add(self, line: bytes) -> Reply | None:
        """The reply that `line` completes."""
        found = _LINE.fullmatch(line)
        if not found:
            raise ReplyError(f"a line that is no reply: {_excerpt(line)}")
        code, separator, text = found.groups()
        if self._lines and code != self._code:
            # RFC 5321 4.2.1: every line carries the same code. Whichever is believed, the other one may be meant.
            raise ReplyError(f"a reply whose lines have the codes {self._code.decode()} and {code.decode()}")
        self._code = code
        self._lines.append(_text(text or b""))
        if len(self._lines) > MAX_LINES or self._octets > MAX_REPLY:
            raise ReplyError(f"a reply of more than {MAX_LINES} lines or {MAX_REPLY} octets: {_excerpt(line)}")
        if separator == b"-":
            return None
        number = int(code)
        enhanced, lines = split_enhanced(tuple(self._lines), number)
        self._lines = []
        self._octets = 0
        return Reply(number, lines, enhanced)


def _text(octets: bytes) -> str:
    """Text for people: what can't be shown becomes "?", so that no reply can forge a line of a log or of a report."""
    text = octets.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def _excerpt(octets: bytes | bytearray) -> str:
    return ascii(bytes(octets[:_EXCERPT]))[1:]

"""
A reply of SMTP as a value.

Owns: the shape of a reply (code, enhanced code, lines) and its wire form (RFC 5321 4.2, RFC 2034).
Never: decides which reply a command gets; the server's own replies stand in `mta/smtp/replies.py` and beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# RFC 3463 2: class "." subject "." detail.
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Reply:
    """
    One reply: a three-digit code, the enhanced status code ("5.1.1") or None, and its lines of text.

    `lines` never hold the code or a line end; one empty line is a reply without text.
    """

    code: int
    lines: tuple[str, ...]
    enhanced: str | None = None

    @property
    def text(self) -> str:
        """All lines as one, for a log or a report."""
        return " ".join(line for line in self.lines if line)

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code <= 399

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code <= 499

    @property
    def is_permanent(self) -> bool:
        return 500 <= self.code <= 599

    @property
    def raw(self) -> str:
        """As it stood on the wire, lines separated by newlines: what an event and a report keep."""
        return self.encode().decode("utf-8").rstrip("\r\n").replace("\r\n", "\n")

    def __str__(self) -> str:
        """As one line with its codes: ``550 5.1.1 No such user``."""
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    def encode(self) -> bytes:
        """The wire form. The enhanced code stands on every line (RFC 2034 4)."""
        prefix = f"{self.enhanced} " if self.enhanced else ""
        # A control character from a peer's address in a text must not become a line of ours.
        if len(self.lines) == 1:
            return f"{self.code} {prefix}{_CONTROL.sub('?', self.lines[0])}\r\n".encode("utf-8", "replace")
        last = len(self.lines) - 1
        wire = "".join(
            f"{self.code}{' ' if number == last else '-'}{prefix}{_CONTROL.sub('?', line)}\r\n"
            for number, line in enumerate(self.lines)
        )
        return wire.encode("utf-8", "replace")


def split_enhanced(lines: tuple[str, ...], code: int) -> tuple[str | None, tuple[str, ...]]:
    """
    Take the enhanced code off the lines of a peer's reply.

    Returns it only where its class fits the reply's (RFC 2034 4: they must agree); else None and the lines as they are.
    """
    found = _ENHANCED.match(lines[0])
    if not found or found[1][0] != str(code)[0]:
        return None, lines
    enhanced = found[1]
    if len(lines) == 1:
        return enhanced, (lines[0][found.end() :],)
    stripped = tuple(
        line[again.end() :] if (again := _ENHANCED.match(line)) and again[1] == enhanced else line for line in lines
    )
    return enhanced, stripped

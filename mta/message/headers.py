"""
Find the header section of a message, and fields in it.

Owns: where the header section ends, counting hops in a stream and finding what it says of TLS, unfolding a field
(RFC 5322 2.2).
Never: changes a byte, or makes an object for each line: regular expressions do the scanning, all of them linear.
Fails: never; a message without header section has an empty one.

A line ends at LF, whether a CR precedes it or not, so that a header section looks the same here as to the most lenient
reader behind us. It ends at the blank line, or before the first line that is neither a field nor a continuation.
"""

from __future__ import annotations

import re
from functools import lru_cache

# DEFAULTS: header block 256 KiB. A larger one is cut off here, never refused.
MAX_HEADERS = 256 * 1024

# RFC 5322 2.2: a name of printable ASCII without colon; 4.5 (obsolete) allows white space before the colon. Both are
# bounded, so that the first _LINE_START octets of a line always decide what the line is.
_FIELD_NAME = rb"[!-9;-~]{1,200}+[ \t]{0,40}+:"
_LINE_START = 256

# The LF before the first line that is no part of a header section.
SECTION_END = re.compile(rb"\n(?!" + _FIELD_NAME + rb"|[ \t])")
# One pass for both; the first letters have most lines passed over sooner. The group is not in a Received field.
_NOTED = re.compile(rb"\n(?=[rt])(?:received|(tls-required))[ \t]{0,40}+:", re.IGNORECASE)
# Octets that are kept of TLS-Required: its value is one short word, folded or not. As many as of a line, which is all
# that is known of one that came in pieces.
_TLS_REQUIRED = _LINE_START


class HopCounter:
    """
    Counts the Received fields of a message while it arrives, however it is cut (RFC 5321 6.3), and keeps TLS-Required.

    `hops` is the number so far; `finished` is True once the header section is over: `feed` costs nothing any more.
    `too_long` says that it was not over after `limit` octets.
    """

    __slots__ = ("_limit", "_line", "_seen", "_tls_required", "_tls_required_fields", "finished", "hops", "too_long")

    def __init__(self, limit: int = MAX_HEADERS) -> None:
        self.hops = 0
        self.finished = False
        self.too_long = False
        self._tls_required_fields = 0
        self._tls_required = b""
        self._limit = limit
        self._seen = 0
        # The line that is not complete yet, from the LF before it; of a long one the start is enough.
        self._line = b"\n"

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the content, of any length."""
        if self.finished:
            return
        fresh = data[: self._limit - self._seen]
        if self._tls_required:
            self._tls_required += fresh[: max(_TLS_REQUIRED - len(self._tls_required), 0)]
        text = self._line + fresh
        self._seen += len(data)
        start_of_last_line = text.rfind(b"\n")
        # The search stops after the last LF, where nothing can follow: so it always finds something.
        found = SECTION_END.search(text, 0, start_of_last_line + 1)
        end = found.start() if found else start_of_last_line
        if end > 0:
            noted = _NOTED.findall(text, 0, end)
            received = noted.count(b"")
            self.hops += received
            if len(noted) != received:
                self._note_tls_required(text, end)
        ended = end < start_of_last_line
        self.too_long = not ended and self._seen > self._limit
        self.finished = ended or self.too_long
        self._line = text[start_of_last_line : start_of_last_line + _LINE_START]

    def _note_tls_required(self, text: bytes, end: int) -> None:
        starts = [found.start() for found in _NOTED.finditer(text, 0, end) if found[1] is not None]
        self._tls_required_fields += len(starts)
        # Its value may go on in the lines that follow, which may not be here yet.
        self._tls_required = self._tls_required or text[starts[0] : starts[0] + _TLS_REQUIRED]

    @property
    def tls_not_required(self) -> bool:
        """Whether the header has TLS-Required: No (RFC 8689 3), once: what stands there twice says nothing."""
        if self._tls_required_fields != 1:
            return False
        found = _field(b"TLS-Required").search(self._tls_required)
        # One that is longer than what was kept of it has more to say than No.
        if found is None or found.end() >= _TLS_REQUIRED:
            return False
        value: bytes = found[1]
        return value.translate(None, b"\r\n").strip().lower() == b"no"


def header_block(content: bytes) -> bytes:
    """The header section that `content` begins with, without the blank line; at most `MAX_HEADERS` octets."""
    text = b"\n" + content[:MAX_HEADERS]
    found = SECTION_END.search(text)
    if found:
        return content[: found.start()]
    if len(content) <= MAX_HEADERS:
        return content
    return content[: text.rfind(b"\n")] or content[:MAX_HEADERS]


def field(headers: bytes, name: bytes) -> str | None:
    """
    The value of the first field called `name`, in any case, in a header section; None where there is none.

    Unfolded (RFC 5322 2.2.3), without CR, LF or white space around it; what is not UTF-8 becomes U+FFFD. Encoded words
    stay as they are.
    """
    found = _field(name).search(b"\n" + headers)
    if not found:
        return None
    value: bytes = found[1]
    return value.translate(None, b"\r\n").decode("utf-8", "replace").strip()


@lru_cache(maxsize=64)
def _field(name: bytes) -> re.Pattern[bytes]:
    """A field with its continuation lines; atomic throughout, so that a hostile one costs no second look."""
    return re.compile(rb"\n" + re.escape(name) + rb"[ \t]{0,40}+:([^\n]*+(?>(?:\n[ \t][^\n]*+)*))", re.IGNORECASE)

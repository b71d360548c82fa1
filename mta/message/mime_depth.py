"""
How deep the parts of a message are nested, while it arrives.

Owns: the levels that are open, learnt from Content-Type fields and delimiter lines (RFC 2046 5.1.1).
Never: decodes a part, keeps one, or makes an object for each line: between delimiters there is one bulk search.
Fails: never; what declares nothing that can be followed is text.

Each multipart and each message within the message is one level. The count is exact, not a bound from how many there
are: a digest of thousands of messages is flat. Where readers differ, the deeper reading counts: a delimiter belongs to
the innermost multipart with its boundary. A message that is no multipart costs a look at its header, and nothing more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.message.headers import MAX_HEADERS, SECTION_END

# A delimiter is one line (RFC 5322 2.1.1: 998 octets); RFC 2046 allows a boundary 70, and not all programs obey.
MAX_LINE = 1000

_CONTENT_TYPE = re.compile(rb"\ncontent-type[ \t]{0,40}+:([^\n]*+(?>(?:\n[ \t][^\n]*+)*))", re.IGNORECASE)
_LEVEL = re.compile(rb"\s*+(?:(multipart)|message)\s*+/\s*+(?(1)(?:(digest)\b)?|(?:rfc822|global)\b)", re.IGNORECASE)
# The other parameters are passed over as wholes, so that "boundary=" inside a quoted one is none. Atomic: one pass.
_QUOTED = rb'"(?>(?:[^"\\]|\\.)*)"?+'
_BOUNDARY = re.compile(
    rb'[^;"]*+(?>(?:;(?!\s*+boundary\s*+=)[^;"]*+(?>(?:' + _QUOTED + rb'[^;"]*+)*))*)'
    rb';\s*+boundary\s*+=\s*+(?:"((?>(?:[^"\\]|\\.)*))|([^\s;"]++))',
    re.IGNORECASE | re.DOTALL,
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Level:
    """A level that is open: a multipart has a `boundary`; `shadowed` is the level that had the same one before."""

    boundary: bytes | None
    digest: bool = False
    shadowed: int | None = None


class MimeDepth:
    """
    Follows the parts of one message, however its content is cut (RFC 2046 5.1, 5.2.1).

    `too_deep` says that more than `limit` levels were open at once. `finished` is True when nothing that follows can
    change that: `feed` costs nothing any more.
    """

    __slots__ = (
        "_boundaries",
        "_held",
        "_in_header",
        "_judged",
        "_levels",
        "_limit",
        "_of_digest",
        "finished",
        "too_deep",
    )

    def __init__(self, limit: int) -> None:
        self.too_deep = False
        self.finished = False
        self._limit = limit
        self._levels: list[_Level] = []
        # Which level a boundary belongs to, the innermost if several have it.
        self._boundaries: dict[bytes, int] = {}
        self._in_header = True
        # Whether the header is that of a part of a digest: what says nothing there is a message (RFC 2046 5.1.5).
        self._of_digest = False
        # What can't be judged yet, from the LF before it; so much of it has been found to go on with the header.
        self._held = b"\n"
        self._judged = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the content, of any length."""
        text, at = self._held + data, 0
        self._held = b""
        while not self.finished and at < len(text):
            at = self._header(text, at) if self._in_header else self._body(text, at)

    def _header(self, text: bytes, at: int) -> int:
        """Read the header section behind the LF at `at`; where its body begins, with an LF too."""
        last = text.rfind(b"\n", at, at + MAX_HEADERS)
        # The search stops after the last LF, where nothing can follow: so it always finds something.
        found = SECTION_END.search(text, at + self._judged, last + 1)
        end = found.start() if found else last
        if end == last and len(text) - at < MAX_HEADERS:
            self._held = text[at:]
            self._judged = last - at
            return len(text)
        self._judged = 0
        declared = _CONTENT_TYPE.search(text, at, end)
        nested = self._open(declared[1] if declared else None)
        self._in_header, self._of_digest = nested, False
        self.finished = self.too_deep or not (nested or self._boundaries)
        blank = end < last and text.startswith((b"\n", b"\r\n"), end + 1)
        return text.find(b"\n", end + 1) if blank else end

    def _open(self, declared: bytes | None) -> bool:
        """Open the level that a Content-Type declares; whether a header follows at once, that of a message."""
        if declared is None:
            level = _Level(None) if self._of_digest else None
        else:
            level = self._level(declared.translate(None, b"\r\n"))
        if level is None:
            return False
        if level.boundary is not None:
            self._boundaries[level.boundary] = len(self._levels)
        self._levels.append(level)
        self.too_deep = len(self._levels) > self._limit
        return level.boundary is None

    def _level(self, declared: bytes) -> _Level | None:
        kind = _LEVEL.match(declared)
        if kind is None:
            return None
        if kind[1] is None:
            return _Level(None)
        named = _BOUNDARY.match(declared)
        if named is None:
            return None
        boundary = (named[2] or _ESCAPED.sub(rb"\1", named[1] or b"")).rstrip(b" \t")
        if not 0 < len(boundary) < MAX_LINE:
            return None
        return _Level(boundary, kind[2] is not None, self._boundaries.get(boundary))

    def _body(self, text: bytes, at: int) -> int:
        """Look for a delimiter from `at` on; the LF behind one that begins a part, or the end of `text`."""
        while (begin := text.find(b"\n--", at)) >= 0:
            at = text.find(b"\n", begin + 3, begin + MAX_LINE + 8)
            if at >= 0:
                if self._delimited(text[begin + 3 : at].rstrip(b"\r\t ")):
                    return at
            elif len(text) < begin + MAX_LINE + 8:
                self._held = text[begin:]
                return len(text)
            else:
                at = begin + 3
        self._held = b"\n-" if text.endswith(b"\n-") else b"\n" if text.endswith(b"\n") else b""
        return len(text)

    def _delimited(self, line: bytes) -> bool:
        """Whether the search is over, `line` being a delimiter without its hyphens: a part begins, or none can."""
        index = self._boundaries.get(line)
        closed = index is None and line.endswith(b"--")
        if closed:
            index = self._boundaries.get(line[:-2])
        if index is None:
            return False
        self._close(index if closed else index + 1)
        if closed:
            self.finished = not self._boundaries
            return self.finished
        self._in_header, self._of_digest = True, self._levels[index].digest
        return True

    def _close(self, remaining: int) -> None:
        """Close the innermost levels, until so many remain; levels that were never ended are closed by an outer one."""
        while len(self._levels) > remaining:
            level = self._levels.pop()
            if level.boundary is None:
                continue
            if level.shadowed is None:
                del self._boundaries[level.boundary]
            else:
                self._boundaries[level.boundary] = level.shadowed

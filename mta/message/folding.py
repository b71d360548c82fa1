"""
Write header fields from text that may come from anybody.

Owns: cleaning, folding (RFC 5322 2.2.3), encoded words (RFC 2047).
Never: knows what the fields mean.
Fails: never; what can't stand in a field becomes "?" or a space.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence

# RFC 5322 2.1.1, without CRLF: what every line should and must stay within.
WIDTH = 78
MAX_LINE = 998
# A reply of more than this tells nobody anything; the peer decides how long it is.
MAX_QUOTE = 2000

# Words with the spaces before them; bounded, so that each fits into a line of the message: the second also where every
# character of it takes four octets. An address of 64 octets and its domain are one word, also where RFC 6533 3 makes
# eight of an octet.
_CHUNKS = re.compile(r" {0,40}[^ ]{1,900}")
_SHORT_CHUNKS = re.compile(r" {0,40}[^ ]{1,230}")
_NOT_PRINTABLE = re.compile(r"[^ -~]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
# RFC 2047 2: 75 characters, of which 12 are "=?utf-8?B?" and "?="; base64 makes 60 of 45 octets.
_WORD_OCTETS = 45

Fields = Sequence[tuple[str, str]]


def one_line(text: str, limit: int | None = MAX_QUOTE) -> str:
    """Text from elsewhere as one line of at most `limit` characters, without controls."""
    return _CONTROLS.sub(" ", text[:limit])


def header_fields(fields: Fields, *, utf8: bool = False) -> bytes:
    """
    Header fields, cleaned and folded, with CRLF behind each; beyond ASCII only with `utf8` (RFC 6532 3.2).

    A newline in a value is where it has to be folded; after unfolding a space stands there.
    """
    return b"".join(_field(name, value, utf8) for name, value in fields)


def _field(name: str, value: str, utf8: bool) -> bytes:
    text = f"{name}: {value}"
    # Nearly all are so: clean as they are, and short. (`_folded` cuts long runs of spaces, and drops those at the end.)
    if len(text) <= WIDTH and text.isascii() and text.isprintable() and "  " not in text and text[-1] != " ":
        return text.encode("ascii") + b"\r\n"
    if len(text) > MAX_QUOTE:
        text, space, last = text[:MAX_QUOTE].rpartition(" ")
        text += "" if last.startswith("=?") else space + last  # half an encoded word is none
    first, *rest = text.split("\n")
    lines = [first, *(f"    {line.strip()}" for line in rest if line.strip())]
    cleaned = [_CONTROLS.sub(" ", line) for line in lines]
    if not utf8:
        cleaned = [_NOT_PRINTABLE.sub("?", line) for line in cleaned]
    return b"".join(_folded(line) for line in cleaned if line.strip(" "))


def _folded(text: str) -> bytes:
    """
    One line of a field, folded at its spaces: unfolding gives the same text.

    A word too long for any line is cut, and of a long run of spaces the last are kept: nothing of ours has these.
    """
    lines = _lines(_CHUNKS.findall(text))
    if any(len(line) > MAX_LINE for line in lines):
        lines = _lines(_SHORT_CHUNKS.findall(text))
    return b"".join(line + b"\r\n" for line in lines)


def _lines(chunks: list[str]) -> list[bytes]:
    line, *others = chunks
    lines = []
    for chunk in others:
        if len(line) + len(chunk) > WIDTH:
            lines.append(line)
            line = chunk if chunk.startswith(" ") else f" {chunk}"
        else:
            line += chunk
    return [each.encode("utf-8") for each in (*lines, line)]


def unstructured(text: str) -> str:
    """Text for a Subject in ASCII: as it is, or as encoded words (RFC 2047), none of which tears a character."""
    text = one_line(text)
    return text if text.isascii() else _encoded(text)


def encoded_words(text: str) -> str:
    """The same for a line that programs read: from the first to the last word that is not ASCII it is encoded."""
    words = one_line(text).split(" ")
    beyond = [index for index, word in enumerate(words) if not word.isascii()]
    if not beyond:
        return " ".join(words)
    first, end = beyond[0], beyond[-1] + 1
    return " ".join([*words[:first], _encoded(" ".join(words[first:end])), *words[end:]])


def _encoded(text: str) -> str:
    words: list[bytes] = [b""]
    for character in text:
        octets = character.encode("utf-8")
        if len(words[-1]) + len(octets) > _WORD_OCTETS:
            words.append(b"")
        words[-1] += octets
    return " ".join(f"=?utf-8?B?{b64encode(word).decode('ascii')}?=" for word in words)

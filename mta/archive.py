"""
The file that a queue moves in: `mta queue export` writes it, `mta queue import` reads it.

Owns: its format, and telling a whole archive from a torn or changed one.
Never: reads a spool; knows what the words of a message mean.
Fails: `ArchiveError`, which names the place in the file.

Lines of JSON, with the content of each message behind its line as it is::

    {"format": "mta queue", "version": 1, "archive": ID, ...}
    {"message": {...}, "size": OCTETS}
    OCTETS of content
    {"sha256": of the line and the content}
    ...
    {"end": true, "messages": NUMBER, "sha256": of the sums of all messages}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

FORMAT = "mta queue"
VERSION = 1
# A message has as many recipients as aliases make of it; what is longer is no line of ours.
_LONGEST_LINE = 1 << 26
_BLOCK = 1 << 16


class ArchiveError(Exception):
    """It can't be read, or is not whole; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in an archive, whose content is `size` octets at `offset` in the file."""

    words: Mapping[str, Any]
    offset: int
    size: int


class ArchiveWriter:
    """Writes an archive into a file that can be read, changed and cut: `begin`, then messages, then `end`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sums = hashlib.sha256()
        self._sum = hashlib.sha256()
        self._start = 0
        self.messages = 0

    def begin(self, archive: str, words: Mapping[str, object]) -> None:
        """`archive` is the id that no other has; `words` are for people."""
        self._file.write(_line({"format": FORMAT, "version": VERSION, "archive": archive, **words}))

    def message(self, words: Mapping[str, object], size: int) -> None:
        """The next message, of so many octets, which follow in pieces."""
        line = _line({"message": words, "size": size})
        self._start = self._file.tell()
        self._sum = hashlib.sha256(line)
        self._file.write(line)

    def content(self, data: bytes) -> None:
        """A piece of it."""
        self._sum.update(data)
        self._file.write(data)

    def message_ended(self) -> None:
        """All of it is there."""
        self._file.write(_line({"sha256": self._sum.hexdigest()}))
        self._sums.update(self._sum.digest())
        self.messages += 1

    def message_dropped(self) -> None:
        """It left the queue while it was read: the archive is what it was before."""
        self._file.seek(self._start)
        self._file.truncate()

    def end(self) -> None:
        """Nothing comes any more."""
        self._file.write(_line({"end": True, "messages": self.messages, "sha256": self._sums.hexdigest()}))


def read(file: BinaryIO) -> Iterator[Mapping[str, Any] | Stored]:
    """
    The words of the archive itself, then each message once it is known to be whole; reading on moves the file.

    Raises `ArchiveError` at the first thing that is not as it was written, the missing end included.
    """
    head, _ = _read_line(file)
    if head.get("format") != FORMAT or not isinstance(head.get("archive"), str):
        raise ArchiveError("this is no archive of a queue")
    if head.get("version") != VERSION:
        raise ArchiveError(f"it has version {head.get('version')}, this program reads {VERSION}")
    yield head
    sums, messages = hashlib.sha256(), 0
    while True:
        start = file.tell()
        words, line = _read_line(file)
        if "end" in words:
            break
        message, size = words.get("message"), words.get("size")
        if not isinstance(message, dict) or not isinstance(size, int) or size < 0:
            raise ArchiveError(f"at octet {start}: no message begins here")
        found, offset, left = hashlib.sha256(line), file.tell(), size
        while left:
            block = file.read(min(left, _BLOCK))
            if not block:
                raise ArchiveError(f"at octet {file.tell()}: it ends in the middle of a message")
            found.update(block)
            left -= len(block)
        end, _ = _read_line(file)
        if end.get("sha256") != found.hexdigest():
            raise ArchiveError(f"at octet {start}: the message is not what was written")
        sums.update(found.digest())
        messages += 1
        after = file.tell()
        yield Stored(message, offset, size)
        file.seek(after)
    if words.get("messages") != messages or words.get("sha256") != sums.hexdigest():
        raise ArchiveError(f"at octet {start}: the end belongs to another archive")
    if file.read(1):
        raise ArchiveError(f"at octet {file.tell() - 1}: there is something behind the end")


def _line(words: Mapping[str, object]) -> bytes:
    return json.dumps(words).encode("ascii") + b"\n"


def _read_line(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    start = file.tell()
    line = file.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ArchiveError(f"at octet {start + len(line)}: it ends before its end")
    try:
        words = json.loads(line)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, dict):
        raise ArchiveError(f"at octet {start}: this is not a line of an archive")
    return words, line

"""
Append messages to a mailbox in one file (mbox).

Owns: the From_ line and its quoting, the order of the durable steps, what becomes of a message that broke off.
Never: knows Twisted; changes what stood in the mailbox before. For threads, one at a mailbox.
Fails: `LockedError`, OSError; then nothing was appended.

Of the family the format is mboxrd: each line that begins with ">"s and "From " gets one more, so that a reader can take
them away again and has the message as it was.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from mta.address import Address
from mta.delivery.dotlock import Dotlock, Note, lock_file
from mta.durable import sync_folder

_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
_NOT_IN_FROM = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINES = 256 * 1024  # octets of lines that are read at once


class MboxError(OSError):
    """A file that is no mailbox."""


@dataclass(frozen=True, slots=True)
class MboxMessage:
    """A From_ line and a message with LF at the end of its lines: at hand, or in an open file at its begin."""

    first: bytes
    content: bytes | BinaryIO

    def pieces(self) -> Iterator[bytes]:
        """As it stands in the mailbox, with a blank line behind."""
        yield self.first
        last = b""
        for lines in [self.content] if isinstance(self.content, bytes) else _whole_lines(self.content):
            if lines:
                last = lines[-2:]
                yield _FROM.sub(rb">\1", lines)
        yield b"\n" if last.endswith(b"\n") else b"\n\n"


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while lines := file.readlines(_LINES):
        yield b"".join(lines)


def from_line(sender: Address | None, at: float) -> bytes:
    """``From sender date``, in UTC and in the form of asctime(3), as readers know it; `at` in seconds since 1970."""
    who = "MAILER-DAEMON" if sender is None else _NOT_IN_FROM.sub("_", str(sender))
    return f"From {who} {_asctime(at)}\n".encode()


def _asctime(at: float) -> str:
    return time.asctime(time.gmtime(at))  # in English whatever the locale is


def append(path: Path, messages: Sequence[MboxMessage], base: Path | None) -> None:
    """
    Append to the mailbox at `path`, all or none; when it returns, a power cut loses nothing of them.

    Folders up to `base` are made. Where we die in the middle, the lock stays with a note, and the next delivery cuts
    off what was appended: nobody who minds locks has written meanwhile. Where somebody has broken the lock, that can't
    be told any more, and what is there stays, closed off by a blank line.
    """
    if base is not None:
        _make_folders(path.parent, base)
    lock = Dotlock(path)
    left = lock.take()
    # As long as what the note says may stand in the mailbox, the note must stand, too.
    is_owed = left is not None
    try:
        if left is not None:
            lock.note(left)
        file = _opened(path)
        try:
            lock_file(file)
            if left is not None:
                _cut_off(file, left)
            size = os.fstat(file).st_size
            lead = _lead(file, size)
            lock.note(Note(size, (lead + messages[0].first).decode("latin-1")))
            is_owed = True
            try:
                _write(file, size, lead, messages)
            except BaseException:
                os.ftruncate(file, size)
                os.fsync(file)
                is_owed = False
                raise
            is_owed = False
        finally:
            os.close(file)  # with it goes the fcntl lock
    finally:
        if is_owed:
            lock.abandon()
        else:
            lock.release()


def _opened(path: Path) -> int:
    """The mailbox, made where there is none. What a user could put in its place is refused."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        sync_folder(path.parent)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise MboxError(f"{path} is not a file, or has other names")
    return descriptor


def _cut_off(file: int, left: Note) -> None:
    """Take away what a dead process of ours appended, if that is what stands there."""
    first = left.first.encode("latin-1")
    found = os.pread(file, len(first), left.size)
    # Of what was not synced, a power cut may leave the beginning, or as many zeros.
    if found and first.startswith(found.rstrip(b"\0")):
        os.ftruncate(file, left.size)
        os.fsync(file)


def _lead(file: int, size: int) -> bytes:
    """What has to stand before a From_ line: it is one only behind a blank line, and others may have broken off."""
    end = os.pread(file, 2, max(0, size - 2)) if size else b"\n\n"
    return b"" if end == b"\n\n" else b"\n" if end.endswith(b"\n") else b"\n\n"


def _write(file: int, offset: int, lead: bytes, messages: Sequence[MboxMessage]) -> None:
    for piece in chain((lead,), *(message.pieces() for message in messages)):
        view = memoryview(piece)
        while view:
            count = os.pwrite(file, view, offset)
            offset, view = offset + count, view[count:]
    os.fsync(file)


def _make_folders(folder: Path, base: Path) -> None:
    if folder.is_dir():
        return
    if folder != base:
        _make_folders(folder.parent, base)
    folder.mkdir(0o700, exist_ok=True)
    sync_folder(folder.parent)

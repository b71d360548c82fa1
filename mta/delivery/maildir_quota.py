"""
Count what is in a Maildir, as Maildir++ has it: the file ``maildirsize``, which Dovecot, Courier and Exim keep as well.

Owns: the format of the file, when it is counted anew, what counts.
Never: decides what becomes of a message without room. For threads.
Fails: OSError. What the file says is believed until it says that there is no room: then the Maildir is counted anew.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = "maildirsize"
# Of the specification: a longer file is counted anew, and so is one that says "full" and is older than 15 minutes, or
# has more than the one line of a count (Courier, README.maildirquota).
MAX_SIZE = 5120
STALE = 15 * 60.0
_SIZE = re.compile(r",S=(\d+)")
_TRASH = ".Trash"


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a Maildir with its folders may hold: octets, messages; 0 for any number."""

    storage: int = 0
    messages: int = 0

    @property
    def header(self) -> str:
        """The first line of the file."""
        return ",".join(f"{number}{kind}" for number, kind in ((self.storage, "S"), (self.messages, "C")) if number)

    def has_room(self, mailbox: Path, size: int, now: float) -> bool:
        """Whether there is room for a message of `size` octets in the Maildir `mailbox`, which need not exist."""
        found = _read(mailbox, self.header)
        if found is not None:
            (octets, count), lines, changed = found
            if self._fits(octets + size, count + 1):
                return True
            if lines == 1 and now - changed < STALE:
                return False
        octets, count = self._counted(mailbox)
        return self._fits(octets + size, count + 1)

    def add(self, mailbox: Path, size: int) -> None:
        """Note a message that was stored. Where that is not possible the next count finds it."""
        with suppress(OSError):
            descriptor = os.open(mailbox / FILE_NAME, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.write(descriptor, _line(size, 1))
            finally:
                os.close(descriptor)

    def _fits(self, octets: int, count: int) -> bool:
        return (not self.storage or octets <= self.storage) and (not self.messages or count <= self.messages)

    def _counted(self, mailbox: Path) -> tuple[int, int]:
        """Count all of it, and write that down where the Maildir exists and did not change meanwhile."""
        before = _changes(mailbox)
        octets, count = _count(mailbox)
        if before and before == _changes(mailbox):
            draft = mailbox / "tmp" / f"{time.time_ns()}.P{os.getpid()}.{FILE_NAME}"
            with suppress(OSError):
                draft.write_bytes(f"{self.header}\n".encode() + _line(octets, count))
                draft.replace(mailbox / FILE_NAME)
        return octets, count


def _line(octets: int, count: int) -> bytes:
    # 14 octets where that is enough, as Courier writes it.
    return f"{octets} {count}".ljust(13).encode() + b"\n"


def _read(mailbox: Path, header: str) -> tuple[tuple[int, int], int, float] | None:
    """The sum of the file, how many lines make it, when it was changed; None where it must be made anew."""
    try:
        with open(mailbox / FILE_NAME, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW)) as file:
            text = file.read(MAX_SIZE)
            changed = os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    first, *lines = text.decode("ascii", "replace").split("\n")
    if len(text) >= MAX_SIZE or first.strip() != header or lines[-1:] != [""]:
        return None
    octets = count = 0
    try:
        for line in lines[:-1]:
            one, other = line.split()
            octets, count = octets + int(one), count + int(other)
    except ValueError:
        return None
    if octets < 0 or count < 0:
        return None
    return (octets, count), len(lines) - 1, changed


def _folders(mailbox: Path) -> list[Path]:
    """The Maildir and its folders, but for the trash."""
    try:
        with os.scandir(mailbox) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(".") and entry.is_dir()]
    except FileNotFoundError:
        return []
    inner = [mailbox / name for name in names if name not in (".", "..") and not _is_trash(name)]
    return [folder / part for folder in (mailbox, *inner) for part in ("new", "cur")]


def _is_trash(name: str) -> bool:
    return name == _TRASH or name.startswith(f"{_TRASH}.")


def _changes(mailbox: Path) -> list[float]:
    """When messages came to each folder or went."""
    found = []
    for folder in _folders(mailbox):
        with suppress(FileNotFoundError):
            found.append(folder.stat().st_mtime)
    return found


def _count(mailbox: Path) -> tuple[int, int]:
    """Octets and messages; what is marked as deleted does not count."""
    octets = count = 0
    for folder in _folders(mailbox):
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                name, _, flags = entry.name.partition(":2,")
                if name.startswith(".") or "T" in flags:
                    continue
                with suppress(FileNotFoundError):
                    found = _SIZE.search(name)
                    octets += int(found[1]) if found else entry.stat().st_size
                    count += 1
    return octets, count

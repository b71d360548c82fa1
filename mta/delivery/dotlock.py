"""
Lock a mailbox as other programs do, and note in the lock what they would need to clean up behind us.

Owns: the dotlock (``PATH.lock``), when one is stale, and the fcntl lock.
Never: waits, or takes a lock from somebody who may be alive. For threads.
Fails: `LockedError` where somebody else has it, OSError for all that a file system can do.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mta.durable import sync_folder

# Seconds. Postfix's stale_lock_time; nobody holds a mailbox that long, and a dead host's lock says nothing else.
STALE = 500.0
_HOST = socket.gethostname()
# Tells our locks from those of an earlier process with the same number, after a restart in a container.
_OURSELVES = os.urandom(8).hex()
# fcntl locks hold between processes, and a process loses them by closing the file anywhere: within this one it is told
# here who has a mailbox, whichever agent he belongs to.
_HELD: set[Path] = set()
_HELD_GUARD = threading.Lock()


class LockedError(Exception):
    """Somebody else has the mailbox."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is being appended: the size of the mailbox before, and the first line that stands there then."""

    size: int
    first: str  # octets, each as the character of its number


class Dotlock:
    """The lock of `mailbox`. `now` gives seconds since 1970."""

    def __init__(self, mailbox: Path) -> None:
        self._folder = mailbox.parent
        self._path = mailbox.parent / f"{mailbox.name}.lock"
        self._descriptor = -1
        self._is_noted = False

    def take(self) -> Note | None:
        """Take it. What a dead process of ours noted in it, None mostly. Raises `LockedError`."""
        with _HELD_GUARD:
            if self._path in _HELD:
                raise LockedError(f"{self._path} is held by another delivery")
            _HELD.add(self._path)
        try:
            return self._taken()
        except BaseException:
            _HELD.discard(self._path)
            raise

    def note(self, note: Note) -> None:
        """Write what is about to be appended; durable when this returns: a crash must leave nothing unknown."""
        # The number first, as liblockfile and procmail look for it.
        text = f"{os.getpid()}\n{json.dumps({'host': _HOST, 'process': _OURSELVES, **asdict(note)})}\n".encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)
        os.fsync(self._descriptor)
        sync_folder(self._folder)
        self._is_noted = True

    def release(self) -> None:
        """Give it back; a power cut does not bring it again: its note would have a delivered message cut off."""
        try:
            os.close(self._descriptor)
            with suppress(FileNotFoundError):  # somebody thought it stale
                os.unlink(self._path)
            if self._is_noted:
                sync_folder(self._folder)
        finally:
            _HELD.discard(self._path)

    def abandon(self) -> None:
        """Leave it where it is, for the next to clean up."""
        os.close(self._descriptor)
        _HELD.discard(self._path)

    def _taken(self) -> Note | None:
        try:
            self._create()
            return None
        except FileExistsError:
            left = self._break()
        try:
            self._create()
        except FileExistsError:
            raise LockedError(f"{self._path} exists") from None
        return left

    def _create(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o644)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def _break(self) -> Note | None:
        """Remove it if it is stale, and give what it says. Raises `LockedError`."""
        try:
            with open(self._path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW)) as file:
                age = time.time() - os.fstat(file.fileno()).st_mtime
                found = _read(file.read(4096))
        except FileNotFoundError:
            return None
        owner, words = found
        # One of this very process was abandoned: who has it still stands in `_HELD`.
        is_dead = words.get("host") == _HOST and (words.get("process") == _OURSELVES or not _lives(owner))
        if not is_dead and age < STALE:
            raise LockedError(f"{self._path} exists")
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        try:
            return Note(int(str(words["size"])), str(words["first"]))
        except (KeyError, ValueError):
            return None


def _read(text: bytes) -> tuple[int, dict[str, object]]:
    """The number of the process and what else a lock of ours says; 0 and nothing for somebody else's."""
    number, _, rest = text.partition(b"\n")
    try:
        words = json.loads(rest)
        return int(number), words if isinstance(words, dict) else {}
    except ValueError:
        return 0, {}


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    # The number may have been given to another program since: then we wait until the lock is old.
    return True


def lock_file(descriptor: int) -> None:
    """The fcntl lock of an open mailbox, until it is closed. Raises `LockedError`."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX has EACCES and EAGAIN for it
        raise LockedError("another program has locked the mailbox") from None

"""
The state directory: ours alone, and with room on its disk.

Owns: making the directory, the lock that keeps a second daemon out, the measure of free space.
Never: opens the spool.
Fails: `PlaceError` with the exit code of sysexits(3) that fits, one line that names the path.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from mta.spool.ballast import Ballast
from mta.spool.errors import SpoolError

# Free space is asked for this often, in seconds, at most: once for many messages of a burst.
ROOM_KNOWN_FOR = 1.0


class PlaceError(SpoolError):
    """The state directory can't be used; `code` is the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def make(state_dir: Path) -> None:
    """Create the directory where it is missing, readable by its owner alone. Raises `PlaceError`."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PlaceError(f"{state_dir}: cannot make the state directory: {error.strerror}", os.EX_CANTCREAT) from error


def lock(state_dir: Path) -> TextIO:
    """
    Take the lock on the directory for as long as the returned file stays open, through a fork too.

    Raises `PlaceError`: not writable, or another daemon has it.
    """
    path = state_dir / "lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise PlaceError(f"{path}: cannot write to the state directory: {error.strerror}", os.EX_CANTCREAT) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = _first_line(file)
        file.close()
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise PlaceError(f"{path}: cannot lock the state directory: {error.strerror}", os.EX_OSERR) from error
        raise PlaceError(
            f"{state_dir}: another daemon uses this state directory{f' (process {owner})' if owner else ''}; "
            "stop it or set another state_dir",
            os.EX_TEMPFAIL,
        ) from error
    return file


def sign(file: TextIO, pid: int) -> None:
    """Write who holds the lock into it, for the error text of the next one that asks."""
    file.seek(0)
    file.truncate()
    file.write(f"{pid}\n")
    file.flush()


def _first_line(file: TextIO) -> str:
    try:
        file.seek(0)
        return file.readline(20).strip()
    except OSError:
        return ""


def _identity(path: Path) -> tuple[int, int]:
    file = path.stat()
    return file.st_dev, file.st_ino


class Room:
    """
    Whether the disk has room for new mail: a share of it free, and twice the largest message.

    `spool` is the open spool file: once another one has its name, or none, there is no room either, since what is
    written goes to a file that nobody finds again. `percent` of the whole disk; `message_size` in octets; `now` gives
    seconds; `ballast` is made anew as soon as there is room for it, and until then there is none for mail. Called, it
    answers from a measure that is at most a second old.
    """

    def __init__(
        self, spool: Path, percent: int, message_size: int, now: Callable[[], float], ballast: Ballast | None = None
    ) -> None:
        self._spool = spool
        self._opened = _identity(spool)
        self._percent = percent
        self._message_size = message_size
        self._now = now
        self._ballast = ballast
        self._measured = float("-inf")
        self._enough = False

    def __call__(self) -> bool:
        now = self._now()
        if not 0 <= now - self._measured < ROOM_KNOWN_FOR:
            self._measured = now
            self._enough = self._measure()
        return self._enough

    def _measure(self) -> bool:
        try:
            if _identity(self._spool) != self._opened:
                return False
            disk = os.statvfs(self._spool)
        except OSError:
            return False  # whatever is wrong there, it is no place for new mail
        free = disk.f_bavail * disk.f_frsize
        ballast = self._ballast
        if ballast is not None and not ballast.held:
            if free < 2 * self._message_size + ballast.size or not ballast.take():
                return False
            free -= ballast.size
        return free >= 2 * self._message_size and free * 100 >= self._percent * disk.f_blocks * disk.f_frsize

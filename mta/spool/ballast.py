"""
A file that takes room on the disk, to be given back when there is no other left.

Owns: making the file, giving it back.
Never: decides who may use the room (`mta/spool/commit.py` does: what empties the queue, and nothing that fills it).

With no octet free the queue could not even be emptied: to claim a message, or to note that it was delivered, takes room
in the write-ahead log until the next checkpoint.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

FILE_NAME = "ballast"

# Twice what the write-ahead log grows to before a checkpoint lets it begin anew (`schema`: 4000 pages of 4 KiB).
SIZE = 32 << 20


class Ballast:
    """
    The ballast file in `state_dir`. `held` says whether it is there; the room is ours as long as it is.

    All worker processes look at the one file: what one gives back, none has any more.
    """

    def __init__(self, state_dir: Path, size: int = SIZE) -> None:
        self.size = size
        self._path = state_dir / FILE_NAME

    @property
    def held(self) -> bool:
        return not self.size or self._path.exists()

    def take(self) -> bool:
        """Make the file, where the disk has room for it; whether it is there."""
        if self.held:
            return True
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            # Blocks, and not only a length: a file with holes takes no room.
            os.posix_fallocate(descriptor, 0, self.size)
        except OSError as error:
            self._remove()
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                return False
            # A file system that knows no such thing: no reserve then, and no mail refused for the lack of it.
            self.size = 0
        finally:
            os.close(descriptor)
        return True

    def give_back(self) -> bool:
        """Remove the file; whether that gave room."""
        return self.size > 0 and self._remove()

    def clear(self) -> None:
        """Remove what the last process left."""
        self._remove()

    def _remove(self) -> bool:
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

"""
Whether the spool file may be used: whole before the start, and still in its place afterwards.

Owns: the look at the file before anything is written to it, the identity of the open files, the errors of SQLite that
mean damage and a full disk.
Never: repairs, deletes, or guesses what stood on a page; imports Twisted (`mta check` may look, too).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from mta.spool import schema
from mta.spool.errors import SpoolDamageError, SpoolError

# Tables that are read through before a start, with their indexes: what is queued, and for whom. Content and events are
# 95 % of the file, and are found out when they are read. Measured on 250,000 messages (1.2 GiB) that were not in the
# memory of the machine: these 1.0 s, all of it 32 s.
EXAMINED = ("messages", "recipients", "staged", "workers")

ADVICE = 'see "A damaged spool" in docs/operating.md'


def examine(path: Path) -> None:
    """
    Read what a start depends on, on a connection that can't write. Raises `SpoolDamageError` naming what was found.

    A file that is missing or empty is sound; one that is no spool of ours is for `schema.prepare` to refuse.
    """
    if not path.exists() or not path.stat().st_size:
        return
    with closing(schema.connect(path, read_only=True)) as database:
        try:
            schema.check(database, str(path), allow_older=True)
            there = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            for table in EXAMINED:
                if table not in there:
                    continue
                found = [row[0] for row in database.execute(f"PRAGMA quick_check({table})")]
                if found != ["ok"]:
                    raise _damaged(path, f"table {table}: {' '.join(found[0].split())}")
        except sqlite3.Error as error:
            if is_damage(error):
                raise _damaged(path, str(error)) from error
            raise SpoolError(f"{path}: cannot read the spool: {error}") from error


def _damaged(path: Path, what: str) -> SpoolDamageError:
    return SpoolDamageError(f"{path}: the spool is damaged ({what}); nothing was changed, {ADVICE}")


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file holds something that can't be."""
    # The low octet is the primary code of an extended one, as SQLITE_CORRUPT_INDEX.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_full(error: BaseException) -> bool:
    """Whether SQLite says that the disk, or the quota, is full."""
    # With no room at all the file of shared memory can't grow either, and that is an I/O error to SQLite.
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


class Files:
    """
    The files of an open spool: once another one has the name of one, or none, what we write is found by nobody.

    SQLite keeps them all open for as long as the connection lives; to look at both costs 2 µs a commit.
    """

    def __init__(self, path: Path, identity: tuple[int, int] | None = None) -> None:
        """`identity` is the device and inode that the spool file must have: those that the first process met."""
        self._paths = (str(path), f"{path}-wal")
        self._opened: dict[str, tuple[int, int]] = {str(path): identity} if identity else {}

    def missing(self) -> str:
        """Which file is not what it was, "" for none."""
        for path in self._paths:
            try:
                found = os.stat(path)
            except OSError as error:
                return f"{path} is gone while it was in use ({error.strerror})"
            identity = found.st_dev, found.st_ino
            if self._opened.setdefault(path, identity) != identity:
                return f"{path} is another file now than the one in use"
        return ""

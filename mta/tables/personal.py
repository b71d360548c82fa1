"""
Files that lists and users name: ``:include:`` and .forward.

Owns: which of them may be read, and how. A .forward counts where nobody else can write it.
Never: understands a line of one (`mta/policy/members.py`).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.interfaces import ITable
from mta.table import Found, Value
from mta.tables.backend import Trouble
from mta.tables.text import Text
from mta.tables.watched import Note, WatchedTable

# Included files that are kept in memory.
MAX_FILES = 256
# Octets of a .forward.
MAX_FORWARD = 64 * 1024


@implementer(ITable)
class IncludedFiles:
    """The key is the path of a file, the value its lines."""

    def __init__(self, clock: IReactorTime, run_in_thread: Callable[..., Deferred[Any]], note: Note) -> None:
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._note = note
        self._files: OrderedDict[str, WatchedTable] = OrderedDict()

    def lookup(self, key: str) -> Found | Deferred[Found]:
        file = self._files.get(key)
        if file is None:
            name = f":include:{key}"
            file = WatchedTable(Path(key), _lines, self._clock, self._run_in_thread, self._note, name)
            self._files[key] = file
            if len(self._files) > MAX_FILES:
                self._files.popitem(last=False)
        self._files.move_to_end(key)
        return file.lookup(key)

    def close(self) -> None:
        self._files.clear()


def _lines(text: str) -> Text:
    lines = tuple(text.split("\n"))
    return Text(lambda _key: lines, len(lines))


class ForwardFiles:
    """
    The files that the template `path` names, below `base` where it is relative: the key is "user@domain", the value
    the lines.

    A file has to be a regular one, of the user with that name, ours or root's, and nobody else may write it. Another
    one could have been put there by anybody: then it can't be told where the mail goes, and it waits.
    """

    def __init__(self, path: str, base: Path) -> None:
        self._path = path
        self._base = base

    def ask(self, key: str) -> Value | None:
        user, _at, domain = key.rpartition("@")
        if "/" in user or "\0" in user or user.startswith("."):
            return None  # no name of a folder
        path = self._base / self._path.replace("{domain}", domain).replace("{user}", user)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Trouble(f"{path}: {error.strerror}") from None
        try:
            if fault := _fault(os.fstat(descriptor), user):
                raise Trouble(f"{path}: {fault}")
            octets = os.read(descriptor, MAX_FORWARD + 1)  # a regular file gives all that is there
        except OSError as error:
            raise Trouble(f"{path}: {error.strerror}") from None
        finally:
            os.close(descriptor)
        if len(octets) > MAX_FORWARD:
            raise Trouble(f"{path}: has more than {MAX_FORWARD} octets")
        try:
            return tuple(octets.decode("utf-8-sig").split("\n"))
        except UnicodeDecodeError:
            raise Trouble(f"{path}: is not UTF-8 text") from None

    def close(self) -> None:
        """No file stays open."""


def _fault(found: os.stat_result, user: str) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    owners = {0, os.geteuid()}
    with contextlib.suppress(KeyError, ValueError):  # a user of ours need not be one of the machine
        owners.add(pwd.getpwnam(user).pw_uid)
    if found.st_uid not in owners:
        return "belongs to somebody else"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by others"
    return ""

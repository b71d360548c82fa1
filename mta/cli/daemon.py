"""
Talk to the daemon over its control socket, or read its spool where it does not run.

Owns: the client's side of the control socket (`mta/admin/control.py` has the other and the format).
Never: imports Twisted; writes to the spool file.
Fails: `CommandError`, one line.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from mta.cli.configuration import Files
from mta.cli.failure import CommandError
from mta.routing.naming import route_names
from mta.spool.answering import pages
from mta.spool.errors import SpoolError

Row = dict[str, object]

# Seconds without a byte from the daemon. It answers in milliseconds; a spool under load may take a while to commit.
TIMEOUT = 120.0
_BLOCK = 1 << 16


class Source(Protocol):
    """Where content is read from: a file, or a part of one."""

    def read(self, size: int, /) -> bytes: ...


class NotRunning(Exception):  # noqa: N818
    """Nobody listens on the control socket."""


class Connection:
    """One connection to the daemon. Raises `NotRunning`, or `CommandError` where it may not be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(TIMEOUT)
        try:
            self._socket.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise NotRunning from error
        except PermissionError:
            raise CommandError(f"{path}: permission denied; only the daemon's user may do this", os.EX_NOPERM) from None
        except OSError as error:
            raise CommandError(f"{path}: {error}", os.EX_UNAVAILABLE) from error
        self._lines = self._socket.makefile("rb")
        self.result: Row = {}

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, words: Mapping[str, object], content: Source | None = None) -> Iterator[Row]:
        """The rows of the answer, then `result` is its last line. Raises `CommandError` where that is an error."""
        try:
            self._socket.sendall(json.dumps({"command": command, **words}).encode() + b"\n")
            while content is not None and (block := content.read(_BLOCK)):
                self._socket.sendall(block)
            for line in self._lines:
                row = json.loads(line)
                if "ok" in row:
                    self.result = row
                    if not row["ok"]:
                        raise CommandError(str(row.get("error")), int(row.get("exit", os.EX_UNAVAILABLE)))
                    return
                yield row
        except (OSError, ValueError) as error:
            raise CommandError(f"{self._path}: lost the daemon: {error}", os.EX_TEMPFAIL) from error
        raise CommandError(f"{self._path}: the daemon closed the connection", os.EX_TEMPFAIL)


def rows(files: Files, command: str, words: Mapping[str, object]) -> Iterator[Row]:
    """The answer to a reading command: from the daemon where it runs, from the spool file where it does not."""
    try:
        with Connection(files.control) as connection:
            yield from connection.ask(command, words)
            return
    except NotRunning:
        pass
    if not files.spool.exists():
        raise CommandError(f"{files.spool}: there is no spool, so the daemon has not run here yet", os.EX_NOINPUT)
    try:
        for page in pages(files.spool, command, words, time.time(), route_names(files.config)):
            yield from page
    except ValueError as error:
        raise CommandError(str(error), os.EX_USAGE) from None
    except LookupError as error:
        raise CommandError(str(error), os.EX_NOINPUT) from None
    except SpoolError as error:
        raise CommandError(str(error), os.EX_UNAVAILABLE) from None

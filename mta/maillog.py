"""
The mail log: one line for each event that people look for, always with the queue id.

Owns: the lines, as text or JSON, and the file they go to.
Never: decides what happened (`mta/events.py` declares it); reads a clock for an event, which carries its own time.
Fails: a file that can't be opened raises OSError when the log is made, and never later: mail goes on without its log.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, TextIO

from mta.events import MEANINGS, Event, Kind
from mta.ids import spell

Value = str | int | float | None

# A route is told by the outcome that follows it: one line an attempt. The sender stands in the accepted line alone, and
# the id joins the others to it.
_SILENT = frozenset((Kind.ROUTED,))
_NAMES = {"sender": "from"}
# The fields of each kind that has a line, as declared, with the names they have there.
_FIELDS: Mapping[Kind, tuple[tuple[str, str], ...]] = {
    kind: tuple((field, _NAMES.get(field, field)) for field in fields)
    for kind, (_, fields) in MEANINGS.items()
    if kind not in _SILENT
}

# Octets that reach a pipe in one piece, whoever else writes to it: PIPE_BUF of Linux (pipe(7)).
_WHOLE = 4096

# What may stand in a line without quotes: it can't hold a space, "=", a quote, or anything that is not printable ASCII.
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")


class MailLog:
    """Writes a line for each event and note. `write` takes one whole line with its LF."""

    def __init__(self, write: Callable[[str], None], format: Literal["text", "json"]) -> None:
        self._write = write
        self._line = _json_line if format == "json" else _text_line

    def event(self, event: Event) -> None:
        """Write the event's line; nothing for a kind that another line tells."""
        wanted = _FIELDS.get(event.kind)
        if wanted is None:
            return
        detail = event.detail
        fields: dict[str, Value] = {}
        if event.recipient is not None:
            fields["to"] = event.recipient
        for key, name in wanted:
            value = detail.get(key)
            # The null reverse-path is a fact to be told, other empty texts are the absence of one.
            if value is not None and (value != "" or name == "from"):
                fields[name] = round(value, 3) if type(value) is float else value
        self._write(self._line(event.at, spell(event.message), event.kind.value, fields))

    def note(self, at: float, kind: str, fields: Mapping[str, Value]) -> None:
        """Write a line that belongs to no message: a refused connection, a limit. `at` in seconds since 1970."""
        self._write(self._line(at, None, kind, fields))


@lru_cache(maxsize=4)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _time(at: float) -> str:
    whole = int(at)
    return f"{_second(whole)}.{int((at - whole) * 1000):03d}Z"


def _text_line(at: float, message: str | None, kind: str, fields: Mapping[str, Value]) -> str:
    """``2026-11-23T04:30:11.123Z ID delivered to=<a@b> host=... reply="250 ..." delay=0.12``."""
    words = "".join([f" {name}={_spelled(name, value)}" for name, value in fields.items()])
    return f"{_time(at)} {message or '-'} {kind}{words}\n"


def _spelled(name: str, value: Value) -> str:
    if not isinstance(value, str):
        if isinstance(value, float):
            return _time(value) if name == "due" else str(value)
        return str(value)
    if name in ("from", "to"):
        value = f"<{value}>"
    if _PLAIN.fullmatch(value):
        return value
    # A JSON string: quotes and every character that is not printable ASCII are escaped, so that text from a peer can
    # neither end its value nor begin a line.
    return json.dumps(value).replace("\x7f", "\\u007f")


def _json_line(at: float, message: str | None, kind: str, fields: Mapping[str, Value]) -> str:
    line: dict[str, Value] = {"time": _time(at), "id": message, "event": kind, **fields}
    if isinstance(due := fields.get("due"), float):
        line["due"] = _time(due)
    return json.dumps(line) + "\n"


class LogFile:
    """
    A file of lines, or standard output for ``-``: buffered, and written once for each turn of the reactor.

    `call_soon` runs a function after what is happening now; `seconds` is a clock. A file that was moved away or deleted
    (logrotate) is opened anew: looked for at most once a second. Raises OSError where it can't be opened at first.
    """

    def __init__(
        self, path: Path | None, call_soon: Callable[[Callable[[], object]], object], seconds: Callable[[], float]
    ) -> None:
        self._path = path
        self._call_soon = call_soon
        self._seconds = seconds
        self._lines: list[str] = []
        self._checked = seconds()
        if path is not None:
            # Only now: made anew under a running daemon, the folder could pass for the state directory it was.
            path.parent.mkdir(parents=True, exist_ok=True)
        # twistd puts its own log in the place of sys.stdout.
        self._file: TextIO = (sys.__stdout__ or sys.stdout) if path is None else _opened(path)

    def write(self, line: str) -> None:
        """Take one line; it is written soon, with all others of this turn."""
        self._lines.append(line)
        if len(self._lines) == 1:
            self._call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits. Trouble loses these lines, and no mail."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self._follow()
            for piece in _pieces(lines):
                self._file.write(piece)
                self._file.flush()
        except (OSError, ValueError):
            # A full disk or a closed pipe: the next turn tries again with its own lines.
            return

    def close(self) -> None:
        """Write what waits and close the file."""
        self.flush()
        if self._path is not None:
            self._file.close()

    def _follow(self) -> None:
        """Open the file anew where the path names another one by now."""
        now = self._seconds()
        # A clock that was set back counts as a second, too.
        if self._path is None or 0 <= now - self._checked < 1:
            return
        self._checked = now
        try:
            there: os.stat_result | None = self._path.stat()
        except FileNotFoundError:
            there = None
        here = os.fstat(self._file.fileno())
        if there is None or (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            fresh = _opened(self._path)
            self._file.close()
            self._file = fresh


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """
    The lines, joined to what goes out in one write.

    Other processes write to the same file or pipe: what is no longer than that is never mixed with theirs.
    """
    piece = ""
    for line in lines:
        if piece and len(piece) + len(line) > _WHOLE:
            yield piece
            piece = ""
        piece += line
    yield piece


def _opened(path: Path) -> TextIO:
    return path.open("a", encoding="ascii", errors="backslashreplace")

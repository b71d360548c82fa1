"""
A table that is a text file, read whole, and read again when it changes.

Owns: when to look at the file, and which of its texts counts.
Never: blocks the reactor for more than a stat: files are read by `run_in_thread`.
Fails: never; a file that can't be read is `CouldNotAsk` until it was read once. Later the text before it stays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.interfaces import ITable
from mta.table import CouldNotAsk, Found
from mta.tables.reading import read_text
from mta.tables.text import Text

# Seconds between two looks at whether the file has changed.
LOOK_EVERY = 1.0

Note = Callable[[str, Mapping[str, str]], None]
_Signature = tuple[int, int, int]


@implementer(ITable)
class WatchedTable:
    """
    The table in the file at `path`, whose grammar `parse` knows; `note` is told when a new text can't be used.

    With bad entries the first text answers for the good ones, and for all others it could not be asked: one of the bad
    may have been the right one. A later text with bad entries is not taken.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[str], Text],
        clock: IReactorTime,
        run_in_thread: Callable[..., Deferred[Any]],
        note: Note,
        name: str,
    ) -> None:
        self._path = path
        self._parse = parse
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._note = note
        self._name = name
        self._text: Text | None = None
        self._seen: _Signature | None = None
        self._trouble = ""
        self._look_at = float("-inf")
        self._waiting: list[tuple[str, Deferred[Found]]] = []
        self._is_loading = False

    def lookup(self, key: str) -> Found | Deferred[Found]:
        now = self._clock.seconds()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._look()
        if self._text is None and self._is_loading:
            waiting: Deferred[Found] = Deferred()
            self._waiting.append((key, waiting))
            return waiting
        return self._answer(key)

    def close(self) -> None:
        """The file is not open between two looks."""

    def _answer(self, key: str) -> Found:
        text = self._text
        if text is None:
            return CouldNotAsk(f"{self._name}: {self._trouble}")
        return text.answer(key, self._name)

    def _look(self) -> None:
        """Begin to read the file where it is another than the one that was read last."""
        if self._is_loading:
            return
        try:
            found = os.stat(self._path)
        except OSError as error:
            self._seen = None
            self._failed(error.strerror or str(error))
            return
        signature = (found.st_mtime_ns, found.st_ino, found.st_size)
        if signature == self._seen:
            return
        self._seen, self._is_loading = signature, True
        loading = self._run_in_thread(read_text, self._path, self._parse)
        loading.addCallbacks(self._loaded, self._not_loaded)
        loading.addBoth(self._answer_all)

    def _loaded(self, text: Text) -> None:
        if text.problems and self._text is not None:
            line, problem = text.problems[0]
            self._failed(f"line {line}: {problem}")
            return
        self._trouble = ""
        self._text = text
        if text.problems:
            line, problem = text.problems[0]
            self._failed(f"line {line}: {problem}")

    def _not_loaded(self, fault: Failure) -> None:
        error = fault.value
        self._failed((error.strerror if isinstance(error, OSError) else None) or str(error))

    def _answer_all(self, _result: object) -> None:
        self._is_loading = False
        waiting, self._waiting = self._waiting, []
        for key, asked in waiting:
            asked.callback(self._answer(key))

    def _failed(self, reason: str) -> None:
        if reason != self._trouble:
            self._trouble = reason
            kept = "" if self._text is None else "; the table before it stays in use"
            self._note("table-trouble", {"table": self._name, "reason": reason + kept})

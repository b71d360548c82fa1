"""
Tables in SQLite.

Owns: a read-only connection, and the bound on how long a statement runs.
Never: writes; puts a key into the text of a statement.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from mta.table import Value
from mta.tables.backend import MAX_VALUES, Pool, Trouble, parts, value_of

# Steps of SQLite's machine between two looks at the clock: some hundred microseconds.
_STEPS = 10_000


class SqliteBackend:
    """`query` has the placeholders ``:key``, ``:local`` and ``:domain``; `timeout` in seconds."""

    def __init__(self, path: Path, query: str, timeout: float) -> None:
        self._name = f"sqlite:{path}"
        self._path = path
        self._query = query
        self._timeout = timeout
        self._pool = Pool(self._connect, sqlite3.Connection.close)

    def _connect(self) -> sqlite3.Connection:
        # The path as a URI: so that it is opened for reading, and never made.
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=self._timeout, check_same_thread=False, isolation_level=None)

    def ask(self, key: str) -> Value | None:
        try:
            connection, _new = self._pool.take()
        except sqlite3.Error as error:
            raise Trouble(f"{self._name}: {error}") from None
        end = time.monotonic() + self._timeout
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            rows = connection.execute(self._query, parts(key)).fetchmany(MAX_VALUES + 1)
        except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError) as error:
            self._pool.drop(connection)
            late = time.monotonic() > end
            raise Trouble(f"{self._name}: {f'no answer in {self._timeout:g} s' if late else error}") from None
        self._pool.give_back(connection)
        return value_of([column for row in rows for column in row], self._name)

    def close(self) -> None:
        self._pool.close()

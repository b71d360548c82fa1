"""
Tables in PostgreSQL, by psycopg 3 (the extra "postgresql").

Owns: the statement with placeholders as psycopg has them, read-only sessions, one new try on a connection that died.
Never: puts a key into the text of a statement.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mta.table import Value
from mta.tables.backend import MAX_VALUES, Pool, Trouble, parts, value_of

if TYPE_CHECKING:
    from psycopg import Connection

# Strings, quoted names, casts, our placeholders, and the sign that means something to psycopg alone.
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|::|:(key|local|domain)\b|%""")


def placed(query: str) -> str:
    """The statement with ``%(key)s`` for ``:key``, but for what stands in quotes; other "%" are doubled."""
    return _TOKEN.sub(lambda found: f"%({found[1]})s" if found[1] else found[0].replace("%", "%%"), query)


class PostgresqlBackend:
    """`target` is a connection URI of libpq; `name` is the same for people. Raises `Trouble` without psycopg."""

    def __init__(self, target: str, query: str, timeout: float, name: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise Trouble(f"{name}: needs psycopg: pip install 'mta[postgresql]'") from None
        self._psycopg = psycopg
        self._target = target
        self._query = placed(query)
        self._timeout = timeout
        self._name = name
        self._pool = Pool(self._connect, lambda connection: connection.close())

    def _connect(self) -> Connection[tuple[object, ...]]:
        # libpq takes 2 s at least.
        seconds = max(2, int(self._timeout))
        connection = self._psycopg.connect(self._target, autocommit=True, connect_timeout=seconds)
        try:
            connection.execute("SET default_transaction_read_only = on")
            connection.execute(f"SET statement_timeout = {int(self._timeout * 1000)}")
        except BaseException:
            connection.close()
            raise
        return connection

    def ask(self, key: str) -> Value | None:
        values = parts(key)
        if "\0" in key:
            return None  # no text of PostgreSQL has one
        while True:
            is_new = True
            try:
                connection, is_new = self._pool.take()
                try:
                    # psycopg wants literal text; ours is the operator's, and keys are parameters of it.
                    rows = connection.execute(self._query.encode(), values).fetchmany(MAX_VALUES + 1)
                except BaseException:
                    self._pool.drop(connection)
                    raise
            except self._psycopg.OperationalError as error:
                if not is_new and not isinstance(error, self._psycopg.errors.QueryCanceled):
                    continue  # the server was restarted while the connection was idle
                raise Trouble(f"{self._name}: {_first_line(error)}") from None
            except self._psycopg.Error as error:
                raise Trouble(f"{self._name}: {_first_line(error)}") from None
            self._pool.give_back(connection)
            return value_of([column for row in rows for column in row], self._name)

    def close(self) -> None:
        self._pool.close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

"""
What a library does that can only block: one lookup at a time, on a connection of its own.

Owns: the contract of such a backend, and the pool of its connections.
Never: runs in the reactor's thread (`mta/tables/threaded.py` takes it to others).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mta.table import Value

# Values of one key; a list of more members is a mistake in the statement.
MAX_VALUES = 10_000

Connection = TypeVar("Connection")


class Trouble(Exception):  # noqa: N818
    """A backend could not be asked; its text says why, without passwords."""


class Backend(Protocol):
    """Looks a key up, in whatever thread it is called."""

    def ask(self, key: str) -> Value | None:
        """The value, None where there is none. Raises `Trouble`."""

    def close(self) -> None:
        """Give all connections back."""


class Pool(Generic[Connection]):
    """Connections that are used by one thread at a time. A deque's ends are safe between threads."""

    def __init__(self, connect: Callable[[], Connection], close: Callable[[Connection], object]) -> None:
        self._connect = connect
        self._close = close
        self._idle: deque[Connection] = deque()
        self._closed = False

    def take(self) -> tuple[Connection, bool]:
        """A connection, and whether it is a new one."""
        try:
            return self._idle.pop(), False
        except IndexError:
            return self._connect(), True

    def give_back(self, connection: Connection) -> None:
        """It is as good as new."""
        if self._closed:
            self._close(connection)
        else:
            self._idle.append(connection)

    def drop(self, connection: Connection) -> None:
        """It is broken."""
        self._close(connection)

    def close(self) -> None:
        """Close those that nobody uses; the others are closed when they are given back."""
        self._closed = True
        while self._idle:
            self._close(self._idle.pop())


def parts(key: str) -> dict[str, str]:
    """What a statement or a filter can ask for: the whole key, and the parts of an address."""
    local, at, domain = key.rpartition("@")
    return {"key": key, "local": local if at else key, "domain": domain if at else ""}


def value_of(items: list[object], name: str) -> Value | None:
    """The value that rows or a list make; NULL is none. Raises `Trouble`."""
    texts = tuple(str(item) for item in items if item is not None)
    if len(texts) > MAX_VALUES:
        raise Trouble(f"{name}: has more than {MAX_VALUES} values for one key")
    return texts or None

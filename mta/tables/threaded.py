"""
A table whose library can only block.

Owns: the way to a thread and back, and how many of them one table may take.
Never: lets a table that hangs take all threads, which mailboxes and reports need as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.interfaces import ITable
from mta.table import CouldNotAsk, Found
from mta.tables.backend import Backend, Trouble

# Of Twisted's ten threads.
AT_ONCE = 2


@implementer(ITable)
class ThreadedTable:
    """`make` gives the backend, in a thread, when it is first asked: that may be the import of a library."""

    def __init__(
        self, make: Callable[[], Backend], run_in_thread: Callable[..., Deferred[Any]], at_once: int = AT_ONCE
    ) -> None:
        self._make = make
        self._backend: Backend | None = None
        self._run_in_thread = run_in_thread
        self._turns = DeferredSemaphore(at_once)

    def lookup(self, key: str) -> Deferred[Found]:
        asked: Deferred[Found] = self._turns.run(self._run_in_thread, self._ask, key)
        return asked.addErrback(_could_not_ask)

    def close(self) -> None:
        if self._backend is not None:
            self._backend.close()

    def _ask(self, key: str) -> Found:
        backend = self._backend
        if backend is None:
            backend = self._backend = self._make()
        return backend.ask(key)


def _could_not_ask(fault: Failure) -> CouldNotAsk:
    error = fault.value
    return CouldNotAsk(str(error) if isinstance(error, Trouble) else f"{type(error).__name__}: {error}")

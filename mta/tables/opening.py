"""
From the URL of a table to the table.

Owns: which kind of URL gets which implementation.
Never: asks a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mta.interfaces import ITable, IWebClient
from mta.table import TEXTS, CouldNotAsk, Found, Kind, TableUrl
from mta.tables.cache import CachedTable, CacheLimits
from mta.tables.checking import PARSERS, backend
from mta.tables.threaded import ThreadedTable
from mta.tables.watched import Note, WatchedTable
from mta.tables.web import WebTable


@dataclass(frozen=True, slots=True)
class TableSurroundings:
    """What tables do not make themselves. Paths are below `base` where they are relative; `timeout` in seconds."""

    base: Path
    clock: IReactorTime
    run_in_thread: Callable[..., Deferred[Any]]
    note: Note
    web: IWebClient | None = None
    timeout: float = 5.0
    limits: CacheLimits = field(default_factory=CacheLimits)


def open_table(url: TableUrl, around: TableSurroundings) -> ITable:
    """The table of a URL. Nothing is opened before the first lookup."""
    name = str(url)
    if url.kind in TEXTS:
        path = around.base / url.target
        return WatchedTable(path, PARSERS[url.kind], around.clock, around.run_in_thread, around.note, name)
    if url.kind is Kind.HTTPS:
        slow: ITable = Nowhere(name) if around.web is None else WebTable(url.target, around.web, around.timeout, name)
    else:
        slow = ThreadedTable(lambda: backend(url, around.base, around.timeout), around.run_in_thread)
    return CachedTable(slow, around.clock, around.limits)


@implementer(ITable)
class Nowhere:
    """A table behind HTTPS, where there is no client for that."""

    def __init__(self, name: str) -> None:
        self._name = name

    def lookup(self, key: str) -> Found:  # noqa: ARG002
        return CouldNotAsk(f"{self._name}: nothing here speaks HTTPS")

    def close(self) -> None:
        """There is nothing to give back."""

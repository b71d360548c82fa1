"""What tables in tests are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from mta.interfaces import IWebClient
from mta.tables.opening import TableSurroundings

Notes = list[tuple[str, Mapping[str, str]]]


def at_once(work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """As a thread would do it, but before this returns."""
    return maybeDeferred(work, *arguments)


def around(
    base: Path, clock: Clock | None = None, notes: Notes | None = None, web: IWebClient | None = None
) -> TableSurroundings:
    """Surroundings without a thread; `notes` collects what is noted."""
    kept: Notes = [] if notes is None else notes
    return TableSurroundings(
        base=base,
        clock=clock or Clock(),
        run_in_thread=at_once,
        note=lambda kind, fields: kept.append((kind, fields)),
        web=web,
        timeout=2.0,
    )

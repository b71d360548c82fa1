"""
What the MTA is put into: the real machine, or a simulated one.

Owns: the list of what the daemon (`mta/daemon/`) and the simulator hand in.
Never: makes any of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred

from mta.ids import QueueIds
from mta.interfaces import (
    IResolver,
    IServerTls,
    ISpool,
    IStsPolicies,
    ITlsReports,
    ITokens,
    IWebClient,
)
from mta.policy.counts import Counts, LocalCounts
from mta.tables.opening import TableSurroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """
    What the MTA does not make itself: time and network (`reactor`), the spool, names, chance, threads, the log.

    `note` writes a line that belongs to no message; `room` tells whether the disk has room for new mail; without `tls`
    the listeners have none. `validates` tells whether secure answers of the resolver are to be had now: only then is
    DANE asked for. Without `sts` no MTA-STS policies are followed, without `tls_reports` no sessions are counted.
    `web` is asked about tokens of clients, `tokens` has our own for next hops. `posts` takes mail.

    Of `workers` processes this is one: they share `counts`, and `others` tells them that more is due than there is room
    for here.
    """

    reactor: Any  # IReactorTime, IReactorTCP: the real one or the simulator's
    spool: ISpool
    resolver: IResolver
    rng: random.Random
    ids: QueueIds
    run_in_thread: Callable[..., Deferred[Any]]
    room: Callable[[], bool]
    note: Callable[[str, Mapping[str, str]], None]
    counts: Counts = field(default_factory=LocalCounts)
    workers: int = 1
    others: Callable[[], None] = lambda: None
    tls: IServerTls | None = None
    validates: Callable[[], bool] = lambda: False
    sts: IStsPolicies | None = None
    web: IWebClient | None = None
    posts: IWebClient | None = None
    tls_reports: ITlsReports | None = None
    tokens: ITokens | None = None
    tables: TableSurroundings | None = None

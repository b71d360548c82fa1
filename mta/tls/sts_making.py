"""
Make what follows MTA-STS policies, from the configuration's words.

Owns: which part gets which.
Never: starts anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from mta.config.schema import Config
from mta.interfaces import IResolver
from mta.tls.https_connection import trusted
from mta.tls.sts import StsPolicies
from mta.tls.sts_fetch import StsFetcher
from mta.tls.sts_store import FOLDER, StsStore


def policies_of(
    config: Config,
    *,
    reactor: Any,
    resolver: IResolver,
    run_in_thread: Callable[..., Deferred[Any]],
    note: Callable[[str, Mapping[str, str]], None],
) -> StsPolicies | None:
    """
    The policies of other domains; None where `sts.follow` is off. Start it with the queue, and stop it with the agents.

    Raises OSError or ValueError where `sts.ca_file` can't be used.
    """
    if not config.sts.follow:
        return None
    fetcher = StsFetcher(reactor=reactor, resolver=resolver, trust_root=trusted(config.sts.ca_file))
    return StsPolicies(
        resolver=resolver,
        fetcher=fetcher,
        store=StsStore(config.state_dir / FOLDER, lambda line: note("sts-store", {"reason": line})),
        clock=reactor,
        run_in_thread=run_in_thread,
        note=note,
    )

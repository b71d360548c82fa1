"""
What the tables of a configuration are given.

Owns: whom the tables behind HTTPS trust, and the limits of all.
Never: opens a table.
Fails: `StartError` where the authorities can't be used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from mta.config.schema import Config
from mta.config.tables import named_tables
from mta.daemon.starting import StartError
from mta.interfaces import IResolver
from mta.table import Found, Kind, TableUrl
from mta.tables.cache import CacheLimits
from mta.tables.opening import TableSurroundings, open_table
from mta.tls.https import Https
from mta.tls.https_connection import trusted


def table_surroundings(
    config: Config,
    reactor: Any,
    resolver: IResolver,
    run_in_thread: Callable[..., Deferred[Any]],
    note: Callable[[str, Mapping[str, str]], None],
    *more: TableUrl,
) -> TableSurroundings:
    """For the tables that the configuration names, and for `more`. Raises `StartError`."""
    tables = config.tables
    kinds = {url.kind for url in (*more, *(url for _key, url in named_tables(config)))}
    web = None
    if Kind.HTTPS in kinds:
        try:
            root = trusted(tables.ca_file)
        except (OSError, ValueError) as error:
            raise StartError(f"tables.ca_file: {tables.ca_file}: {error}", os.EX_CONFIG) from error
        web = Https(reactor=reactor, resolver=resolver, trust_root=root)
    return TableSurroundings(
        base=config.state_dir,
        clock=reactor,
        run_in_thread=run_in_thread,
        note=note,
        web=web,
        timeout=tables.timeout,
        limits=CacheLimits(tables.ttl, tables.absent_ttl, tables.size),
    )


async def asked_once(config: Config, url: TableUrl, key: str, reactor: Any, resolver: IResolver) -> Found:
    """What a table has for a key."""
    around = table_surroundings(config, reactor, resolver, deferToThread, lambda _kind, _fields: None, url)
    table = open_table(url, around)
    try:
        found = table.lookup(key)
        return await found if isinstance(found, Deferred) else found
    finally:
        table.close()

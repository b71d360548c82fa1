"""
Make the policy of a configuration with tables.

Owns: which of its words becomes which table.
Never: asks one.
"""

from __future__ import annotations

from collections.abc import Mapping

from mta.config.schema import Config
from mta.interfaces import ITable
from mta.policy.directory import Directory
from mta.policy.lookups import Lookups, Source
from mta.policy.relay import RelayPolicy
from mta.table import Value
from mta.tables.cache import CachedTable, CacheLimits
from mta.tables.inline import InlineTable
from mta.tables.opening import TableSurroundings, open_table
from mta.tables.personal import ForwardFiles, IncludedFiles
from mta.tables.residents import Residents
from mta.tables.threaded import ThreadedTable

# Seconds for which a .forward is remembered: one message may come in several transactions.
_FORWARD_TTL = 1.0


def residents(config: Config, directory: Directory, rules: RelayPolicy, around: TableSurroundings) -> Residents:
    """The policy that asks the tables of a configuration behind what it lists itself."""
    local, relay = config.local, config.relay
    tables: dict[Source, tuple[ITable, ...]] = {
        source: tuple(open_table(url, around) for url in urls)
        for source, urls in (
            (Source.USERS, local.user_tables),
            (Source.ALIASES, local.alias_tables),
            (Source.MOVED, local.moved_tables),
            (Source.RECIPIENTS, relay.recipient_tables),
        )
        if urls
    }
    if relay.recipients:
        listed: Mapping[str, Value] = dict.fromkeys(relay.recipients, ("listed",))
        tables[Source.RECIPIENTS] = (InlineTable(listed), *tables.get(Source.RECIPIENTS, ()))
    if local.forward:
        files = ThreadedTable(lambda: ForwardFiles(local.forward, around.base), around.run_in_thread)
        limits = CacheLimits(_FORWARD_TTL, _FORWARD_TTL, around.limits.size)
        tables[Source.FORWARD] = (CachedTable(files, around.clock, limits),)
    tables[Source.INCLUDE] = (IncludedFiles(around.clock, around.run_in_thread, around.note),)
    lookups = Lookups(directory, frozenset(tables), local.recipient_delimiter)
    return Residents(rules, lookups, tables, around.note)

"""
Options of tables that are not in the configuration itself.

Owns: the kind of value that names one, the table [tables], and the list of all that are named.
Never: opens a table (`mta/tables/`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator

from mta.config.fields import Duration, OptionalCount, OptionalFile, PositiveDuration
from mta.config.option import Table, option
from mta.config.people import unquoted
from mta.policy.directory import folded
from mta.table import TableUrl, parse_table_url

if TYPE_CHECKING:
    from mta.config.schema import Settings

# What a recipient delimiter may be; a letter or a digit would cut names apart.
_DELIMITERS = frozenset("+-=_.#%")


def _table_url(value: object) -> TableUrl:
    if not isinstance(value, str):
        raise ValueError(f"must be text in quotes, not {value!r}")
    return parse_table_url(value)


def _recipient(text: str) -> str:
    """An address, or "@example.org" for all of a domain."""
    if text.startswith("@"):
        return unquoted(f"x{text}", folded)[1:]
    if "@" not in text:
        raise ValueError(f'"{text}" must be a whole address, or "@DOMAIN" for everyone there')
    return unquoted(text, folded)


def _delimiter(text: str) -> str:
    if len(set(text)) != len(text) or not _DELIMITERS.issuperset(text):
        raise ValueError(f'"{text}" must be one or a few of {" ".join(sorted(_DELIMITERS))}, each once')
    return text


def _forward(text: str) -> str:
    if not text:
        return text
    bare = text.replace("{user}", "x").replace("{domain}", "x")
    if "{user}" not in text or "{" in bare or "}" in bare or "\0" in text or ".." in text.split("/"):
        raise ValueError(f'"{text}" must be a path with {{user}} in it, such as "/home/{{user}}/.forward"')
    return text


TableUrls = tuple[Annotated[TableUrl, BeforeValidator(_table_url)], ...]
RelayRecipient = Annotated[str, AfterValidator(_recipient)]
Delimiter = Annotated[str, AfterValidator(_delimiter)]
ForwardPath = Annotated[str, AfterValidator(_forward)]


class Tables(Table):
    """How the tables are asked that stand in databases, directories and web servers (docs/addresses.md)."""

    timeout: PositiveDuration = option(
        "5s",
        "How long one lookup may take; then the table could not be asked, and the client tries again later.",
        unit="duration",
        source="below limits.policy_timeout",
    )
    ttl: Duration = option(
        "5m", "How long an entry is remembered; 0s for not at all.", unit="duration", source="a change is seen soon"
    )
    absent_ttl: Duration = option(
        "30s",
        "How long it is remembered that there is no such entry.",
        unit="duration",
        source="a new user waits for this long at most",
    )
    ca_file: OptionalFile = option(
        "",
        "A PEM file with the authorities that web servers with tables are verified by; empty for those of the system."
        " Relative to the directory that the daemon is started in.",
        unit="path",
        source="as sts.ca_file",
    )
    size: OptionalCount = option(
        10_000, "How many keys of each table are remembered.", unit="count", source="a few megabytes"
    )


def named_tables(settings: Settings) -> Iterator[tuple[str, TableUrl]]:
    """Each table that the configuration names, with the key that names it."""
    local, relay = settings.local, settings.relay
    for key, urls in (
        ("local.user_tables", local.user_tables),
        ("local.alias_tables", local.alias_tables),
        ("local.moved_tables", local.moved_tables),
        ("relay.recipient_tables", relay.recipient_tables),
    ):
        for url in urls:
            yield key, url


def uses_lookups(settings: Settings) -> bool:
    """Whether who lives here is more than what the configuration lists."""
    local = settings.local
    named = next(named_tables(settings), None)
    return named is not None or bool(local.recipient_delimiter or local.forward or settings.relay.recipients)

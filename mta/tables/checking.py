"""
Look at a table for `mta check`, without Twisted: whether it can be opened and asked, and which of its entries are bad.

Owns: which kind of URL is read or asked how, where blocking is no harm.
Never: changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mta.table import TEXTS, CouldNotAsk, Found, Kind, TableUrl
from mta.tables import alias_text, keyed_text, regexp_text
from mta.tables.backend import Backend, Trouble
from mta.tables.reading import read_text
from mta.tables.text import Text

PARSERS: Mapping[Kind, Callable[[str], Text]] = {
    Kind.FILE: keyed_text.read,
    Kind.ALIASES: alias_text.read,
    Kind.REGEXP: regexp_text.read,
}
# Nobody's address: that it is not there is an answer.
_PROBE = "mta-check@invalid"


def backend(url: TableUrl, base: Path, timeout: float) -> Backend:
    """What asks a table in a thread. Raises `Trouble` where its library is missing."""
    if url.kind is Kind.SQLITE:
        from mta.tables.sqlite import SqliteBackend

        return SqliteBackend(base / url.target, url.query, timeout)
    if url.kind is Kind.POSTGRESQL:
        from mta.tables.postgresql import PostgresqlBackend

        return PostgresqlBackend(url.target, url.query, timeout, str(url))
    from mta.tables.ldap import LdapBackend

    return LdapBackend(url.target, timeout, str(url))


def look(url: TableUrl, base: Path, timeout: float, key: str) -> Found:
    """What a table that is not behind HTTPS has for a key."""
    try:
        if url.kind not in TEXTS:
            asked = backend(url, base, timeout)
            try:
                return asked.ask(key)
            finally:
                asked.close()
        text = read_text(base / url.target, PARSERS[url.kind])
    except (Trouble, ValueError) as error:
        return CouldNotAsk(str(error))
    except OSError as error:
        return CouldNotAsk(f"{url}: {error.strerror or error}")
    return text.answer(key, str(url))


def problems(url: TableUrl, base: Path, timeout: float) -> Iterator[str]:
    """What is wrong with a table, each with the place: ``/etc/aliases:7: ...``. Web servers are not asked."""
    if url.kind is Kind.HTTPS:
        return
    if url.kind in TEXTS:
        yield from _text_problems(base / url.target, PARSERS[url.kind])
        return
    try:
        asked = backend(url, base, timeout)
        try:
            asked.ask(_PROBE)
        finally:
            asked.close()
    except Trouble as trouble:
        yield str(trouble)


def _text_problems(path: Path, parse: Callable[[str], Text]) -> Iterator[str]:
    try:
        text = read_text(path, parse)
    except OSError as error:
        yield f"{path}: {error.strerror or error}"
        return
    except ValueError as error:
        yield f"{path}: {error}"
        return
    yield from (f"{path}:{line}: {problem}" for line, problem in text.problems)

"""
Begin a simulation with a copy of the present queue.

Owns: reading the operator's spool file, once, on a connection that can't write; which of its domains are one site.
Never: changes the file, or needs the daemon to be stopped: the copy is made in one read transaction.
Fails: `SpoolError` where the file can't be read.

Of the content only what a report would quote is copied: a forecast needs no attachments, and a queue may be larger
than the memory.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mta.config.schema import Config
from mta.sim.scenario import Scenario, Site
from mta.spool import reading, schema
from mta.spool.errors import SpoolError
from mta.spool.schema import SpoolConnection

# Octets of a message that are copied at most; a message up to that is copied whole.
MAX_CONTENT = 4096
# Messages of a domain that are asked for where they were last routed to.
_ASKED = 3
_ROWS = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Present:
    """The copy of a queue, and the domains in it that are at one site, by a name for that site."""

    database: SpoolConnection
    groups: dict[str, tuple[str, ...]]


def copy(path: Path) -> Present:
    """The queue of the spool file at `path` as it is now. Raises `SpoolError`."""
    # Where no daemon has it open there is no log beside it, and SQLite would make one and leave it there. A daemon that
    # started meanwhile has made one, or has changed the file.
    before = _seen(path)
    if before and not _log(path).exists():
        try:
            present = _copied(path, immutable=True)
        except SpoolError:
            if _seen(path) == before and not _log(path).exists():
                raise
        else:
            if _seen(path) == before and not _log(path).exists():
                return present
    return _copied(path, immutable=False)


def _seen(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _copied(path: Path, *, immutable: bool) -> Present:
    database = schema.memory()
    schema.prepare(database, "the copy of the queue")
    with reading.opened(path, immutable=immutable) as source:
        source.execute("BEGIN")  # one view of everything
        database.execute("BEGIN")
        for table, columns in _TABLES.items():
            rows = source.execute(f"SELECT {columns} FROM {table}")
            marks = ", ".join("?" * (columns.count(",") + 1))
            while page := rows.fetchmany(_ROWS):
                database.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", page)
        content = source.execute("SELECT message, substr(data, 1, ?) FROM chunks WHERE number = 0", (MAX_CONTENT,))
        while page := content.fetchmany(_ROWS):
            database.executemany("INSERT INTO chunks (message, number, data) VALUES (?, 0, ?)", map(_cut, page))
        # What is left of it is all there is, as far as the copy is concerned.
        database.execute(
            "UPDATE messages SET size = coalesce("
            "(SELECT length(data) FROM chunks WHERE message = messages.id AND number = 0), 0)"
        )
        # What has staged chunks only is still arriving.
        database.execute("DELETE FROM chunks WHERE message NOT IN (SELECT id FROM messages)")
        database.execute("COMMIT")
        groups = _groups(source)
        source.execute("ROLLBACK")
    return Present(database, groups)


# Without recipients.marked: an attempt that is under way beside us will most likely end well, and is no doubt yet.
_TABLES = {
    "messages": "id, arrived, sender, size, body, due, claim, crashes, details, waits_for",
    "recipients": "message, address, state, due, attempts, last_reply, details, in_doubt",
}


def _cut(row: tuple[int, bytes]) -> tuple[int, bytes]:
    """The content up to a line end, where it was longer."""
    message, data = row
    if len(data) < MAX_CONTENT:
        return message, data
    end = data.rfind(b"\r\n")
    return message, data[: end + 2] if end >= 0 else data


def _groups(source: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """The domains of the queue by the site that the last `routed` events name; a domain without one is alone."""
    sites: defaultdict[str, list[str]] = defaultdict(list)
    for domain, messages in _messages(source).items():
        if site := _last_site(source, domain, messages):
            sites[site].append(domain)
    names: dict[str, tuple[str, ...]] = {}
    for site, domains in sites.items():
        # "mx1.provider.test,mx2.provider.test": the first host is name enough for what many domains share.
        first = re.split(r"[,+]", site)[0]
        name = domains[0] if len(domains) == 1 else first
        if not _NAME.fullmatch(name) or name in names:
            name = f"site-{len(names) + 1}"
        names[name] = tuple(sorted(domains))
    return names


def _messages(source: sqlite3.Connection) -> dict[str, list[tuple[int, str]]]:
    """Some messages for each domain that have been tried, the newest ones, each with its recipient there."""
    found: dict[str, list[tuple[int, str]]] = {}
    rows = source.execute("SELECT message, address FROM recipients WHERE state = 'queued' ORDER BY message DESC")
    for message, address in rows:
        some = found.setdefault(address.rpartition("@")[2], [])
        if len(some) < _ASKED:
            some.append((message, address))
    return found


def _last_site(source: sqlite3.Connection, domain: str, messages: Iterable[tuple[int, str]]) -> str | None:
    """Where the DNS last led for a domain; None where it was not asked, or a route decides."""
    if domain.startswith("["):
        return None
    for message, address in messages:
        row = source.execute(
            "SELECT detail FROM events WHERE message = ? AND kind = 'routed' AND recipient = ?"
            " ORDER BY seq DESC LIMIT 1",
            (message, address),
        ).fetchone()
        if row is None:
            continue
        try:
            detail = json.loads(row[0] or "{}")
        except ValueError:
            continue
        if isinstance(detail, dict) and detail.get("next_hop") == "mx:" and isinstance(detail.get("site"), str):
            return str(detail["site"])
    return None


def world_of(present: Present, scenario: Scenario | None, config: Config) -> Scenario:
    """
    The scenario for a forecast: `scenario`, where there is one, with the sites of the queue.

    Where it has a site for one of the domains that share hosts, the others are there, too. Without one every site is
    up, and the time is as long as the youngest message may live.
    """
    if scenario is None:
        seconds = int(config.queue.lifetime + max(config.queue.retry) * 1.5)
        scenario = Scenario.model_validate({"duration": f"{seconds}s"})
    known = {domain: site.name for site in scenario.sites for domain in site.domains}
    elsewhere = {*scenario.names.nxdomain, *scenario.names.null_mx}
    names = {site.name for site in scenario.sites}
    joining: defaultdict[str, list[str]] = defaultdict(list)
    added: list[Site] = []
    for name, domains in present.groups.items():
        free = [domain for domain in domains if domain not in known and domain not in elsewhere]
        home = next((known[domain] for domain in domains if domain in known), None)
        if home is not None:
            joining[home] += free
        elif free:
            added.append(Site(name=_unused(name, names), domains=tuple(free)))
            names.add(added[-1].name)
    sites = [site.model_copy(update={"domains": (*site.domains, *joining[site.name])}) for site in scenario.sites]
    literals = _literals(present, {endpoint for site in sites for endpoint in site.endpoints})
    return scenario.model_copy(update={"sites": (*sites, *added, *literals)})


def _unused(name: str, names: Iterable[str]) -> str:
    while name in names:
        name = f"{name[:60]}-2"
    return name


def _literals(present: Present, taken: set[str]) -> Iterator[Site]:
    """A site for each address literal: no DNS leads to it, and its mail has to arrive somewhere."""
    rows = present.database.execute("SELECT DISTINCT address FROM recipients WHERE address LIKE '%@[%]'")
    hosts = sorted({address.rpartition("@")[2][1:-1].removeprefix("IPv6:") for (address,) in rows})
    for number, host in enumerate(hosts, 1):
        endpoint = f"[{host}]:25" if ":" in host else f"{host}:25"
        if endpoint not in taken:
            yield Site(name=host if _NAME.fullmatch(host) else f"literal-{number}", endpoints=(endpoint,))

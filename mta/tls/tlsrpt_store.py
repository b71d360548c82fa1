"""
Keep what is counted for reports on TLS, and what became of the reports: one SQLite file for all workers.

Owns: the tables, what a day's sessions add up to, and that a report is in one worker's hands at a time.
Never: decides when a report is due, makes or sends one. Imports Twisted. Reads a clock.
Fails: sqlite3.Error and OSError; nothing is half written.

Each call opens the file, and blocks on the disk: it runs in a thread, some times a minute. Counts are statistics: there
is no more fsync than SQLite's, and none for a session.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from mta.tls_report import SECONDS_OF_DAY, Applied, Counted, Finding, PolicyType, Result, Session, Tally

FOLDER = "tlsrpt"
FILE_NAME = "results.sqlite"
VERSION = 1
# Days that stay, for people to look at.
KEPT_DAYS = 8
# Kinds of failure of a domain's day that are kept apart; what comes behind is counted by its result alone.
MAX_DETAILS = 100
# Reports on days before that are no use to anybody (RFC 8460 5.5: a day of tries).
REPORTED_DAYS = 2
_LOCK_TIMEOUT = 10.0

_TABLES = f"""
CREATE TABLE tallies (
    day INTEGER NOT NULL, domain TEXT NOT NULL, policy TEXT NOT NULL, successes INTEGER NOT NULL,
    failures INTEGER NOT NULL, PRIMARY KEY (day, domain, policy)
) WITHOUT ROWID;
CREATE TABLE details (
    day INTEGER NOT NULL, domain TEXT NOT NULL, policy TEXT NOT NULL, session TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (day, domain, policy, session)
) WITHOUT ROWID;
-- A report that waits is due at a time, and in a worker's hands until its lease ends.
CREATE TABLE reports (
    day INTEGER NOT NULL, domain TEXT NOT NULL, due REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
    first REAL, lease REAL NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'waiting',
    places TEXT NOT NULL DEFAULT '{{}}', PRIMARY KEY (day, domain)
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""

Key = tuple[int, str, Applied]  # day, policy domain, policy


class State(Enum):
    """What became of a report."""

    WAITING = "waiting"
    SENT = "sent"
    UNWANTED = "unwanted"  # the domain asks for none
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a report at one place: `when` in seconds since 1970, `trouble` "" where it was taken."""

    when: float
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """
    The report on a domain for a day. `due` in seconds since 1970; `first` is when it was tried first, None before;
    `places` are URIs of the domain's record, with what became of it there.
    """

    day: int
    domain: str
    due: float
    tries: int = 0
    first: float | None = None
    state: State = State.WAITING
    places: Mapping[str, Delivered] = field(default_factory=dict)


@dataclass(slots=True)
class Counts:
    """Counted sessions that are not on disk yet: successes and failures, and what the failures were."""

    totals: dict[Key, list[int]] = field(default_factory=dict)
    failures: dict[tuple[Key, Session], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.totals) + len(self.failures)

    def add(self, key: Key, session: Session, number: int = 1) -> None:
        """Count a session."""
        total = self.totals.get(key)
        if total is None:
            total = self.totals[key] = [0, 0]
        if session.finding.result is None:
            total[0] += number
            return
        total[1] += number
        which = (key, session)
        self.failures[which] = self.failures.get(which, 0) + number

    def merge(self, other: Counts) -> None:
        """Count what `other` has counted."""
        for key, (successes, failures) in other.totals.items():
            total = self.totals.setdefault(key, [0, 0])
            total[0] += successes
            total[1] += failures
        for which, number in other.failures.items():
            self.failures[which] = self.failures.get(which, 0) + number


class TlsrptStore:
    """The file in `folder`, which is made where there is something to write."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def add(self, counts: Counts) -> None:
        """Add to what is there, in one transaction: other workers add theirs."""
        with self._writing() as database:
            for (day, domain, policy), (successes, failures) in counts.totals.items():
                database.execute(
                    "INSERT INTO tallies VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " successes = successes + excluded.successes, failures = failures + excluded.failures",
                    (day, domain, _policy_text(policy), successes, failures),
                )
            for ((day, domain, policy), session), number in counts.failures.items():
                text = self._detail(database, day, domain, session)
                database.execute(
                    "INSERT INTO details VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET count = count + excluded.count",
                    (day, domain, _policy_text(policy), text, number),
                )

    def _detail(self, database: sqlite3.Connection, day: int, domain: str, session: Session) -> str:
        """The text of a failed session; without particulars where the domain has too many that differ."""
        text = _session_text(session)
        query = "SELECT count(*), max(session = ?) FROM details WHERE day = ? AND domain = ?"
        kinds, is_there = database.execute(query, (text, day, domain)).fetchone()
        if kinds < MAX_DETAILS or is_there:
            return text
        return _session_text(Session(Finding(session.finding.result)))

    def plan(self, today: int, due: Callable[[int], float]) -> None:
        """
        Have a report wait for each domain with sessions on a day that is over; `due` draws its time. Forget what is
        old.

        Where another worker has planned it, that stands.
        """
        with self._writing() as database:
            oldest = today - REPORTED_DAYS
            found = database.execute(
                "SELECT DISTINCT day, domain FROM tallies WHERE day >= ? AND day < ?"
                " AND NOT EXISTS (SELECT 1 FROM reports r WHERE r.day = tallies.day AND r.domain = tallies.domain)",
                (oldest, today),
            ).fetchall()
            database.executemany(
                "INSERT INTO reports (day, domain, due) VALUES (?, ?, ?)",
                [(day, domain, due(day)) for day, domain in found],
            )
            database.execute("UPDATE reports SET state = 'failed' WHERE state = 'waiting' AND day < ?", (oldest,))
            for table in ("tallies", "details", "reports"):
                database.execute(f"DELETE FROM {table} WHERE day < ?", (today - KEPT_DAYS,))

    def claim(self, now: float, lease: float) -> Report | None:
        """A report that is due and in nobody's hands: it is in ours for `lease` seconds."""
        with self._writing() as database:
            row = database.execute(
                "SELECT day, domain, due, tries, first, state, places FROM reports"
                " WHERE state = 'waiting' AND due <= ? AND lease <= ? ORDER BY due LIMIT 1",
                (now, now),
            ).fetchone()
            if row is None:
                return None
            database.execute("UPDATE reports SET lease = ? WHERE day = ? AND domain = ?", (now + lease, row[0], row[1]))
            return _report(row)

    def record(self, report: Report) -> None:
        """What became of a report that we had claimed; it is in nobody's hands any more."""
        with self._writing() as database:
            database.execute(
                "UPDATE reports SET due = ?, tries = ?, first = ?, lease = 0, state = ?, places = ?"
                " WHERE day = ? AND domain = ?",
                (
                    report.due,
                    report.tries,
                    report.first,
                    report.state.value,
                    _places_text(report.places),
                    report.day,
                    report.domain,
                ),
            )

    def note(self, report: Report) -> None:
        """What became of it at some of its places, while we go on: a crash must not have it sent there again."""
        with self._writing() as database:
            database.execute(
                "UPDATE reports SET places = ? WHERE day = ? AND domain = ?",
                (_places_text(report.places), report.day, report.domain),
            )

    def tallies(self, day: int, domain: str) -> list[Tally]:
        """What was counted for a domain on a day, by policy."""
        return [tally for _domain, tally in self.overview(day, domain)]

    def overview(self, day: int, domain: str | None = None) -> list[tuple[str, Tally]]:
        """What was counted on a day, for one policy domain or for all."""
        with self._reading() as database:
            if database is None:
                return []
            which, values = ("AND domain = ?", [domain]) if domain is not None else ("", [])
            rows = database.execute(
                f"SELECT domain, policy, successes, failures FROM tallies WHERE day = ? {which}"
                " ORDER BY domain, policy",
                [day, *values],
            ).fetchall()
            found = []
            for name, policy, successes, failures in rows:
                details = database.execute(
                    "SELECT session, count FROM details WHERE day = ? AND domain = ? AND policy = ?"
                    " ORDER BY count DESC, session",
                    (day, name, policy),
                ).fetchall()
                counted = tuple(Counted(_session(text), count) for text, count in details)
                found.append((name, Tally(_policy(policy), successes, failures, counted)))
            return found

    def reports(self, day: int, domain: str | None = None) -> list[Report]:
        """What became of the reports on a day."""
        with self._reading() as database:
            if database is None:
                return []
            which, values = ("AND domain = ?", [domain]) if domain is not None else ("", [])
            rows = database.execute(
                "SELECT day, domain, due, tries, first, state, places FROM reports"
                f" WHERE day = ? {which} ORDER BY domain",
                [day, *values],
            ).fetchall()
            return [_report(row) for row in rows]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=_LOCK_TIMEOUT, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                (version,) = database.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _TABLES.split(";"):
                        database.execute(statement)
                elif version != VERSION:
                    raise sqlite3.DatabaseError(f"it has version {version}, this program knows {VERSION}")
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        if not self._path.exists():
            yield None
            return
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_LOCK_TIMEOUT, isolation_level=None)) as database:
            database.execute("BEGIN")  # one moment for all that is read
            (version,) = database.execute("PRAGMA user_version").fetchone()
            yield database if version == VERSION else None


def _policy_text(policy: Applied) -> str:
    return json.dumps([policy.type.value, policy.domain, policy.strings, policy.mx], separators=(",", ":"))


def _policy(text: str) -> Applied:
    kind, domain, strings, mx = json.loads(text)
    return Applied(PolicyType(kind), domain, tuple(strings), tuple(mx))


def _session_text(session: Session) -> str:
    finding = session.finding
    fields: Iterable[Any] = (
        finding.result.value if finding.result else "",
        finding.reason,
        session.sending_ip,
        session.host,
        session.helo,
        session.ip,
    )
    return json.dumps(list(fields), separators=(",", ":"))


def _session(text: str) -> Session:
    result, reason, *places = json.loads(text)
    return Session(Finding(Result(result), reason), *places)


def _places_text(places: Mapping[str, Delivered]) -> str:
    return json.dumps({uri: [each.when, each.trouble] for uri, each in places.items()})


def _report(row: tuple[Any, ...]) -> Report:
    day, domain, due, tries, first, state, places = row
    delivered = {uri: Delivered(when, trouble) for uri, (when, trouble) in json.loads(places).items()}
    return Report(day, domain, due, tries, first, State(state), delivered)


def end_of(day: int) -> float:
    """When a day is over, in seconds since 1970."""
    return float((day + 1) * SECONDS_OF_DAY)

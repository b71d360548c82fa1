"""Tables in a real PostgreSQL and a real slapd. Each starts once; their Debian packages: postgresql, slapd."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import psycopg
from twisted.internet import threads
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mta.interfaces import ITable
from mta.table import CouldNotAsk, parse_table_url
from mta.tables.cache import CacheLimits
from mta.tables.checking import problems
from mta.tables.opening import TableSurroundings, open_table
from tests.contracts.tables import ENTRIES, TroubleContract, found_in
from tests.real_peers.postgresql import Postgresql
from tests.real_peers.slapd import Slapd

LISTS = {"team@a.test": ("bob", "carol@c.test")}


def opened(url: str) -> ITable:
    """A table that is asked in threads, and remembers nothing."""
    around = TableSurroundings(
        base=Path(),
        clock=Clock(),
        run_in_thread=threads.deferToThread,
        note=lambda _kind, _fields: None,
        timeout=3.0,
        limits=CacheLimits(0, 0, 0),
    )
    return open_table(parse_table_url(url), around)


class PeerCase(TestCase):
    """With a server in `peer` that all tests of a class share."""

    timeout = 60
    peer: ClassVar[Any] = None

    def setUp(self) -> None:
        if type(self).peer is None:
            top = tempfile.mkdtemp()
            peer = self.prepared(Path(top))
            type(self).peer = peer
            atexit.register(shutil.rmtree, top, ignore_errors=True)
            atexit.register(peer.stop)  # trial has no end of a class

    def prepared(self, top: Path) -> Any:
        """Start the server."""
        raise NotImplementedError

    def take_away(self) -> None:
        self.peer.stop()
        self.addCleanup(self.peer.start)


class PostgresqlTests(PeerCase, TroubleContract):
    def prepared(self, top: Path) -> Postgresql:
        peer = Postgresql(top)
        with psycopg.connect(peer.url, autocommit=True) as database:
            database.execute("CREATE TABLE entries (key text, value text)")
            rows = [*ENTRIES.items(), *((key, value) for key, values in LISTS.items() for value in values)]
            database.cursor().executemany("INSERT INTO entries VALUES (%s, %s)", rows)
        return peer

    def table(self) -> ITable:
        return opened(f"{self.peer.url}?query=SELECT value FROM entries WHERE key = :key")

    async def test_statement(self) -> None:
        """Casts, quoted colons and percent signs of a statement stay what they are; rows are values."""
        statement = (
            "SELECT value::text FROM entries WHERE key LIKE :local || '@%' AND key LIKE '%' || :domain"
            " AND ':key' <> key ORDER BY 1"
        )
        table = opened(f"{self.peer.url}?query={quote(statement)}")
        self.assertEqual(("bob", "carol@c.test"), await found_in(table, "team@a.test"))
        table.close()

    async def test_read_only(self) -> None:
        """A statement that writes is refused by the session, and the answer is "could not ask"."""
        table = opened(
            f"{self.peer.url}?query=WITH gone AS (DELETE FROM entries WHERE key = :key RETURNING 1) SELECT * FROM gone"
        )
        self.assertIsInstance(await found_in(table, "alice@a.test"), CouldNotAsk)
        table.close()

    async def test_restart(self) -> None:
        """A connection that died with its server is made anew; one that hangs in a statement is given up."""
        table = self.table()
        self.assertEqual(("ok",), await found_in(table, "alice@a.test"))
        self.peer.stop()
        self.peer.start()
        self.assertEqual(("ok",), await found_in(table, "alice@a.test"))
        table.close()
        slow = opened(f"{self.peer.url}?query=SELECT pg_sleep(20)::text WHERE :key <> ''")
        found = await found_in(slow, "alice@a.test")
        self.assertIsInstance(found, CouldNotAsk)
        slow.close()

    def test_check(self) -> None:
        """`mta check` asks once, and tells a bad statement without the password."""
        good = parse_table_url(f"{self.peer.url}?query=SELECT value FROM entries WHERE key = :key")
        self.assertEqual([], list(problems(good, Path(), 3.0)))
        bad = parse_table_url(f"{self.peer.url}?query=SELECT valeu FROM entries WHERE key = :key")
        (problem,) = problems(bad, Path(), 3.0)
        self.assertIn('column "valeu" does not exist', problem)
        self.assertNotIn("sesame", problem)


class LdapTests(PeerCase, TroubleContract):
    def prepared(self, top: Path) -> Slapd:
        return Slapd(top, {**ENTRIES, **LISTS})

    def table(self) -> ITable:
        return opened(self.peer.url("description?sub?(street={key})"))

    async def test_values(self) -> None:
        """An attribute with several values gives them all; the base may have parts of the key, and need not exist."""
        table = self.table()
        found = await found_in(table, "team@a.test")
        self.assertEqual({"bob", "carol@c.test"}, set(found if isinstance(found, tuple) else ()))
        table.close()
        by_name = opened(self.peer.url("description??").replace("/dc=a", "/uid={local},dc=a"))
        self.assertEqual(("ok",), await found_in(by_name, "u0@a.test"))
        self.assertIsNone(await found_in(by_name, "u0,dc=a@a.test"))
        by_name.close()

    async def test_restart(self) -> None:
        """A connection that died with its server is made anew."""
        table = self.table()
        self.assertEqual(("ok",), await found_in(table, "alice@a.test"))
        self.peer.stop()
        self.peer.start()
        self.assertEqual(("ok",), await found_in(table, "alice@a.test"))
        table.close()

    async def test_wrong_password(self) -> None:
        """A refused bind is "could not ask"."""
        table = opened(self.peer.url("description?sub?(street={key})").replace("sesame", "says-me"))
        self.assertIsInstance(await found_in(table, "alice@a.test"), CouldNotAsk)
        table.close()

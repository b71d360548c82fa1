"""The contract of tables, on those that need no server of somebody else."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import trustme
from twisted.internet import reactor, ssl
from twisted.trial.unittest import TestCase

from mta.dns.fake import FakeResolver
from mta.interfaces import ITable
from mta.table import CouldNotAsk, parse_table_url
from mta.tables.inline import InlineTable
from mta.tables.opening import open_table
from mta.tls.https import Https
from tests.contracts.tables import ENTRIES, TableContract, TroubleContract, found_in
from tests.tables.surroundings import around
from tests.tls.web_server import WebServer, response

REACTOR = cast(Any, reactor)
CA = trustme.CA()


def _quoted(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


class FileCase(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "table"

    def opened(self, url: str) -> ITable:
        return open_table(parse_table_url(url), around(self.folder))

    def take_away(self) -> None:
        self.path.unlink()


class FileTests(FileCase, TroubleContract):
    def table(self) -> ITable:
        return self.opened("file:table")

    def setUp(self) -> None:
        super().setUp()
        self.path.write_text("".join(f"{_quoted(key)}\t{value}\n" for key, value in ENTRIES.items()))


class AliasesTests(FileCase, TroubleContract):
    def table(self) -> ITable:
        return self.opened(f"aliases:{self.path.absolute()}")

    def setUp(self) -> None:
        super().setUp()
        self.path.write_text("".join(f"{_quoted(key)}: {value}\n" for key, value in ENTRIES.items()))


class RegexpTests(FileCase, TroubleContract):
    def table(self) -> ITable:
        return self.opened("regexp:table")

    def setUp(self) -> None:
        super().setUp()
        self.path.write_text("".join(f"/^{re.escape(key)}\\Z/ {value}\n" for key, value in ENTRIES.items()))


class SqliteTests(FileCase, TroubleContract):
    def table(self) -> ITable:
        return self.opened("sqlite:table?query=SELECT value FROM entries WHERE key = :key")

    def setUp(self) -> None:
        super().setUp()
        with sqlite3.connect(self.path) as database:
            database.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT)")
            database.executemany("INSERT INTO entries VALUES (?, ?)", list(ENTRIES.items()))
        database.close()

    async def test_rows(self) -> None:
        """Several rows are several values, NULL is none, and local part and domain can be asked for apart."""
        with sqlite3.connect(self.path) as database:
            database.execute("CREATE TABLE members (list TEXT, at TEXT, member TEXT)")
            rows = [("team", "a.test", "bob"), ("team", "a.test", None), ("team", "a.test", "carol@c.test")]
            database.executemany("INSERT INTO members VALUES (?, ?, ?)", rows)
        database.close()
        statement = "SELECT member FROM members WHERE list = :local AND at = :domain ORDER BY member"
        table = self.opened(f"sqlite:table?query={quote(statement)}")
        self.assertEqual(("bob", "carol@c.test"), await found_in(table, "team@a.test"))
        self.assertIsNone(await found_in(table, "team@b.test"))
        table.close()

    async def test_only_reading(self) -> None:
        """A missing file is not made, and a statement that goes on and on is stopped: both are "could not ask"."""
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n WHERE :key <> ''"
        for name, statement in (("missing", "SELECT :key"), ("table", endless)):
            table = self.opened(f"sqlite:{name}?query={statement}")
            self.assertIsInstance(await found_in(table, "alice@a.test"), CouldNotAsk)
            table.close()
        self.assertFalse((self.folder / "missing").exists())


class InlineTests(TableContract, TestCase):
    """It can always be asked."""

    def table(self) -> ITable:
        return InlineTable({key: (value,) for key, value in ENTRIES.items()})


class WebTests(TroubleContract, TestCase):
    """A web server on loopback answers what the path asks for, with the test's own CA."""

    timeout = 20

    def setUp(self) -> None:
        self.server = WebServer(REACTOR, CA.issue_cert("users.test"))
        self.addCleanup(self.server.stop)
        answers = {f"/users/{quote(key, safe='')}": value for key, value in ENTRIES.items()}
        self.status = ""

        def answer(request: bytes) -> bytes:
            value = answers.get(request.split(b" ")[1].decode("ascii"))
            if self.status:
                return response(b"trouble", status=self.status)
            if value is None:
                return response(b"{}", status="404 Not Found")
            return response(json.dumps({"value": value}).encode(), content_type="application/json")

        self.server.answers = answer
        root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(CA.cert_pem.bytes())])
        resolver = FakeResolver({("users.test", "A"): ["127.0.0.1"]})
        self.client = Https(reactor=REACTOR, resolver=resolver, trust_root=root)

    def table(self) -> ITable:
        url = parse_table_url(f"https://users.test:{self.server.port}/users/{{key}}")
        return open_table(url, around(Path(), web=self.client))

    def take_away(self) -> None:
        self.status = "503 Busy"

    async def test_answers(self) -> None:
        """A text, a list and an object with a value are answers; any other body or status is "could not ask"."""
        for status, body, expected in (
            ("200 OK", b'"one"', ("one",)),
            ("200 OK", b'["one", "two"]', ("one", "two")),
            ("200 OK", b'{"value": ["one"]}', ("one",)),
            ("200 OK", b"[]", None),
            ("404 Not Found", b"", None),
            ("200 OK", b'{"other": 1}', CouldNotAsk),
            ("200 OK", b"[1]", CouldNotAsk),
            ("200 OK", b"null", CouldNotAsk),
            ("200 OK", b"<html>", CouldNotAsk),
            ("200 OK", b"[" * 60_000, CouldNotAsk),
            ("410 Gone", b'"one"', CouldNotAsk),
            ("302 Found", b'"one"', CouldNotAsk),
        ):
            self.server.answers = lambda _request, body=body, status=status: response(body, status=status)
            found = await found_in(self.table(), "alice@a.test")
            if expected is CouldNotAsk:
                self.assertIsInstance(found, CouldNotAsk, (status, body[:20]))
            else:
                self.assertEqual(expected, found, (status, body[:20]))

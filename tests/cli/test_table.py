"""`mta table get`, and what `mta check` says of tables."""

from __future__ import annotations

import json
import os
import sqlite3

from tests.cli.test_commands import CommandCase


class TableTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        (self.top / "aliases").write_text("team: bob, carol@c.test\nbad\n")
        database = sqlite3.connect(self.top / "users.db")
        with database:
            database.execute("CREATE TABLE users (address TEXT)")
            database.executemany("INSERT INTO users VALUES (?)", [("bob@a.test",), ("carol@a.test",)])
        database.close()

    def test_get(self) -> None:
        """The value is printed, one a line; 1 means no such entry, 75 that the table can't be asked."""
        sqlite = f"sqlite:{self.top}/users.db?query=SELECT address FROM users WHERE :key = 'all' OR address = :key"
        for url, key, code, output in (
            (f"aliases:{self.top}/aliases", "team", os.EX_OK, "bob, carol@c.test\n"),
            (sqlite, "all", os.EX_OK, "bob@a.test\ncarol@a.test\n"),
            (sqlite, "nobody@a.test", 1, ""),
            (f"sqlite:{self.top}/none.db?query=SELECT :key", "bob", os.EX_TEMPFAIL, ""),
            (f"aliases:{self.top}/aliases", "other", os.EX_TEMPFAIL, ""),
            ("hash:/etc/aliases", "team", os.EX_USAGE, ""),
        ):
            ran = self.mta("table", "get", url, key)
            self.assertEqual((code, output), (ran.returncode, ran.stdout.decode()), (url, key, ran))

    def test_json(self) -> None:
        """With --json it is one object, whose value is a list, or null."""
        ran = self.mta("table", "get", f"aliases:{self.top}/aliases", "team", "--json")
        self.assertEqual(["bob, carol@c.test"], json.loads(ran.stdout)["value"])

    def test_check(self) -> None:
        """Each table is opened, and a bad entry is told with the file and the line that it stands on."""
        tables = f'["aliases:{self.top}/aliases", "file:{self.top}/missing"]'
        with self.config.open("a") as config:
            config.write(f'\n[local]\ndomains = ["a.test"]\nalias_tables = {tables}\n')
        ran = self.mta("check")
        self.assertEqual(os.EX_CONFIG, ran.returncode, ran)
        self.assertIn(f"local.alias_tables: {self.top}/aliases:2: is not an alias", ran.stderr)
        self.assertIn(f"local.alias_tables: {self.top}/missing: No such file or directory", ran.stderr)

"""The daemon with tables: aliases in a file that changes, users in SQLite, an extension, .forward, a table gone."""

from __future__ import annotations

import signal
import smtplib
import sqlite3

from tests.end_to_end.daemon import Daemon, EndToEndCase, eventually

_USERS = 'users = ["alice", "bob"]'
_TABLES = """
recipient_delimiter = "+"
forward = "home/{{user}}/.forward"
alias_tables = ["aliases:{top}/aliases"]
user_tables = ["sqlite:{top}/users.db?query=SELECT name FROM users WHERE name = :key"]

[tables]
ttl = "0s"
absent_ttl = "0s"
"""


class TableTests(EndToEndCase):
    def setUp(self) -> None:
        super().setUp()
        self.users = self.top / "users.db"
        database = sqlite3.connect(self.users)
        with database:
            database.execute("CREATE TABLE users (name TEXT)")
            database.executemany("INSERT INTO users VALUES (?)", [("dora",), ("emil",)])
        database.close()
        self.aliases = self.top / "aliases"
        self.aliases.write_text("team: dora, emil+work\n")
        self.host = Daemon(self.top)
        text = self.host.config.read_text()
        self.host.config.write_text(text.replace(_USERS, _USERS + _TABLES.format(top=self.top)))
        self.addCleanup(self.host.stop, signal.SIGKILL)
        self.host.start()

    def code(self, recipient: str) -> int:
        with smtplib.SMTP("127.0.0.1", self.host.port) as client:
            client.ehlo("client.test")
            client.mail("bob@local.test")
            return client.rcpt(recipient)[0]

    def counts(self, *users: str) -> list[int]:
        return [len(self.host.mailbox(user)) for user in users]

    def test_members(self) -> None:
        """A list's members get its mail, an extension leads to its user, .forward leads on, each gets it once."""
        home = self.host.state / "home" / "dora"
        home.mkdir(parents=True)
        (home / ".forward").write_text("\\dora\nalice\nemil+other\n")
        (home / ".forward").chmod(0o600)
        self.host.submit("bob@local.test", "team@local.test", "emil+x@local.test")
        eventually(lambda: min(self.counts("alice", "dora", "emil")), "mail for all")
        self.assertEqual([1, 1, 1, 0], self.counts("alice", "dora", "emil", "team"))
        self.assertEqual([], self.host.queued())

    def test_change(self) -> None:
        """A changed file counts without a restart, a bad one leaves the one before in use, and the log tells."""
        self.assertEqual((250, 550), (self.code("team@local.test"), self.code("new@local.test")))
        self.aliases.write_text("new: emil\nteam: dora\n")
        eventually(lambda: self.code("new@local.test") == 250, "the new alias")
        self.aliases.write_text("no alias\n")

        def told() -> bool:
            self.assertEqual(250, self.code("new@local.test"))  # the file is looked at when somebody asks
            return "line 1: is not an alias" in self.host.output.read_text()

        eventually(told, "the line of the log")

    def test_could_not_ask(self) -> None:
        """With its database gone nobody is refused for good: 451 until it is there again."""
        self.assertEqual((250, 550), (self.code("dora@local.test"), self.code("nobody@local.test")))
        self.users.write_bytes(b"no database at all, and long enough to be read as one" * 40)
        eventually(lambda: self.code("nobody@local.test") == 451, "451")
        self.assertEqual((451, 250), (self.code("emil@local.test"), self.code("alice@local.test")))

"""
What every `ITable` promises.

`TableContract` is mixed into a test case that makes a table of `ENTRIES` in `table`, and can take it away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from mta.interfaces import ITable
from mta.table import CouldNotAsk, Found

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

ENTRIES = {
    "alice@a.test": "ok",
    "o'hara@a.test": "o'hara",
    "jörg@a.test": "far@c.test",
    'say "hi"@a.test': "quoted",
}
# What has a meaning in SQL, LDAP filters, URLs, patterns or JSON, and means nothing as a key.
STRANGERS = (
    "nobody@a.test",
    "alice@b.test",
    "alice",
    "@a.test",
    "x' OR '1'='1@a.test",
    "*@a.test",
    "%@a.test",
    "*)(mail=*@a.test",
    "alice@a.test)(mail=*",
    "\\2a@a.test",
    "{local}@{domain}",
    "../alice@a.test",
    "alice@a.test?x=1",
    "alice@a.test\0",
    "a\r\nb@a.test",
    "",
)


async def found_in(table: ITable, key: str) -> Found:
    """The answer, whether it comes at once or later."""
    answer = table.lookup(key)
    return await answer if isinstance(answer, Deferred) else answer


class TableContract(Base):
    """Mixed into a `twisted.trial.unittest.TestCase`."""

    def table(self) -> ITable:
        """A table with `ENTRIES`, not asked yet."""
        raise NotImplementedError

    async def test_entries(self) -> None:
        """Each key has its value, whatever its characters mean elsewhere, the first time and the second."""
        table = self.table()
        for _time in range(2):
            for key, value in ENTRIES.items():
                self.assertEqual((value,), await found_in(table, key), key)
        table.close()

    async def test_no_such_entry(self) -> None:
        """What is no key is None: no key is ever a pattern, a statement or a path."""
        table = self.table()
        for key in STRANGERS:
            self.assertIsNone(await found_in(table, key), key)
        table.close()


class TroubleContract(TableContract):
    """And for a table that can be out of reach."""

    def take_away(self) -> None:
        """Make it impossible to ask a table that is made from now on."""
        raise NotImplementedError

    async def test_could_not_ask(self) -> None:
        """Where the table can't be asked, the answer says so with a reason: it is not None, and nothing is raised."""
        self.take_away()
        table = self.table()
        found = await found_in(table, "alice@a.test")
        self.assertIsInstance(found, CouldNotAsk)
        assert isinstance(found, CouldNotAsk)
        self.assertNotIn("sesame", found.reason)
        table.close()

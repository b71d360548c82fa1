"""What an operator's filters match."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.entry import State
from mta.selection import Selection
from mta.spool import schema
from mta.spool.schema import SpoolConnection
from mta.spool.selecting import where

# (message, sender, recipient, state)
ROWS = (
    (1, "alice@example.org", "bob@example.net", "queued"),
    (1, "alice@example.org", "50%_off@shop.test", "held"),
    (2, "", "bob@sub.example.net", "queued"),
    (3, "ALICE@example.org", "x50aboff@shop.test", "quarantined"),
    (4, "carol@example.org", '"b@example.net"@other.test', "queued"),
    (5, "carol@example.org", "a\\b@shop.test", "queued"),
)


def filled() -> SpoolConnection:
    database = schema.memory()
    schema.prepare(database, "memory")
    for message, sender, recipient, state in ROWS:
        database.execute(
            "INSERT OR IGNORE INTO messages (id, arrived, sender, size, body) VALUES (?, 0, ?, 1, '7BIT')",
            (message, sender),
        )
        database.execute(
            "INSERT INTO recipients (message, address, state, due) VALUES (?, ?, ?, 0)", (message, recipient, state)
        )
    return database


def matched(database: SpoolConnection, selection: Selection) -> set[tuple[int, str]]:
    condition, parameters = where(selection)
    return set(
        database.execute(
            f"SELECT r.message, r.address FROM recipients r JOIN messages m ON m.id = r.message WHERE {condition}",
            parameters,
        )
    )


class WhereTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = filled()
        self.addCleanup(self.database.close)

    def test_table(self) -> None:
        """Each filter matches just its rows: case aside, "*" is any text, and SQL's own wildcards are plain text."""
        for selection, expected in (
            (Selection(), {1, 2, 3, 4, 5}),
            (Selection(messages=(1, 3, 99)), {1, 3}),
            (Selection(messages=()), set()),
            (Selection(sender="alice@example.org"), {1, 3}),
            (Selection(sender="Alice@Example.ORG"), {1, 3}),
            (Selection(sender=""), {2}),
            (Selection(sender="*@example.org"), {1, 3, 4, 5}),
            (Selection(sender="*"), {1, 2, 3, 4, 5}),
            (Selection(sender="%"), set()),
            (Selection(recipient="bob@*"), {1, 2}),
            (Selection(recipient="50%_off@shop.test"), {1}),
            (Selection(recipient="50%_off@*"), {1}),
            (Selection(recipient="*_off@shop.test"), {1}),
            (Selection(recipient="a\\b@*"), {5}),
            (Selection(recipient="bob"), set()),
            (Selection(domain="example.net"), {1}),
            (Selection(domain="net"), set()),
            (Selection(domain="%"), set()),
            (Selection(domain="other.test"), {4}),
            (Selection(state=State.HELD), {1}),
            (Selection(state=State.QUEUED, sender="alice@*"), {1}),
            (Selection(messages=(2,), state=State.HELD), set()),
        ):
            found = {message for message, _ in matched(self.database, selection)}
            self.assertEqual(expected, found, selection)

    def test_conditions_hold_for_the_same_recipient(self) -> None:
        """Two filters select the recipients that both match, not the messages that have one of each."""
        found = matched(self.database, Selection(domain="shop.test", state=State.QUEUED, messages=(1, 5)))
        self.assertEqual({(5, "a\\b@shop.test")}, found)

    def test_thousands_of_ids(self) -> None:
        """However many ids a script names, they are one parameter: SQLite bounds their number."""
        _, parameters = where(Selection(messages=tuple(range(100_000))))
        self.assertEqual(1, len(parameters))
        self.assertEqual(len(ROWS), len(matched(self.database, Selection(messages=tuple(range(100_000))))))

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(
        st.lists(st.sampled_from(["*", "%", "_", "\\", "'", '"', "--", "bob", "BOB", "@", "example.net"]), max_size=5)
    )
    def test_patterns_mean_what_they_say(self, pieces: list[str]) -> None:
        """Whatever a filter holds, only "*" is special: the matches are those of the pattern as plain text."""
        text = "".join(pieces)
        pattern = re.compile(".*".join(map(re.escape, text.split("*"))), re.IGNORECASE)
        expected = {(message, recipient) for message, _, recipient, _ in ROWS if pattern.fullmatch(recipient)}
        self.assertEqual(expected, matched(self.database, Selection(recipient=text)))

"""The language of filters: SQL and Python mean the same by it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.cli.filterpage import PAGE, rendered
from mta.cli.filters import Duration, Size
from mta.entry import State
from mta.selection import FILTERS, Selection, Subject, foreseen, matches, selection_from, words_of
from mta.spool import schema
from mta.spool.schema import SpoolConnection
from mta.spool.selecting import bind, needs_message, where

NOW = 1000.0
ROUTES = {"example.net": ("route 1 (mta.toml:7)", "smtp://relay.test:25"), "x.test": ("MX lookup", "mx:")}

text = st.lists(
    st.sampled_from(["a", "B", "b", "@", "example.net", "x.test", ".", "%", "_", "'", "\\", "é"]), max_size=4
)
addresses = st.sampled_from(
    ["a@example.net", "A@EXAMPLE.net", "b@x.test", "a%b@x.test", "é@sub.x.test", "b_b@other.test"]
)
subjects = st.builds(
    Subject,
    message=st.integers(1, 5),
    arrived=st.sampled_from([0.0, 899.5, 900.0, 999.0]),
    sender=st.sampled_from(["", "a@example.net", "NEWS@x.test"]),
    size=st.integers(0, 4),
    recipient=addresses,
    state=st.sampled_from([State.QUEUED, State.HELD, State.QUARANTINED, State.IN_DOUBT, State.DISCARDED]),
    site=st.sampled_from(["", "mx1.x.test,mx2.x.test", "relay.test:25"]),
    code=st.sampled_from(["", "451 4.7.1", "4.4.1", "450 4.2.1", "421 4.7.10"]),
    reply=st.sampled_from(["", "mx said: 451 4.7.1 greylisted 100%", "connection refused"]),
    operation=st.sampled_from([None, 1, 2]),
)
patterns = st.one_of(
    st.lists(st.sampled_from(["*", "a", "B", "@", "x.test", "example.net", "%", "_", "MX"]), max_size=4).map("".join),
    st.sampled_from(["*@x.test", "a@*", "MX lookup", "route 1*", "smtp://*", "*.x.test*", "greylisted"]),
)
selections = st.builds(
    Selection,
    **{
        name: st.one_of(st.none(), values)
        for name, values in {
            "messages": st.lists(st.integers(1, 5), max_size=3).map(tuple),
            "sender": patterns,
            "recipient": patterns,
            "domain": st.sampled_from(["x.test", "example.net", "EXAMPLE.NET", "*.test", "t"]),
            "site": patterns,
            "route": patterns,
            "older": st.sampled_from([0.0, 100.0, 100.5]),
            "younger": st.sampled_from([1.0, 100.0]),
            "larger": st.integers(0, 4),
            "smaller": st.integers(0, 4),
            "state": st.sampled_from([State.QUEUED, State.HELD, State.QUARANTINED, State.IN_DOUBT, State.DISCARDED]),
            "code": st.sampled_from(["451", "4.7.1", "4.7.*", "450|4.4.1", "4*", "7"]),
            "reply": patterns,
            "operation": st.integers(1, 2),
        }.items()
    },
)


def routes(address: str) -> tuple[str, ...]:
    return ROUTES.get(address.rpartition("@")[2].lower(), ())


def store(database: SpoolConnection, number: int, subject: Subject) -> None:
    """A row; each has a message of its own, whose id stands for the subject's."""
    database.execute(
        "INSERT INTO messages (id, arrived, sender, size, body) VALUES (?, ?, ?, ?, '7BIT')",
        (number, subject.arrived, subject.sender, subject.size),
    )
    doubt = subject.state is State.IN_DOUBT
    database.execute(
        "INSERT INTO recipients (message, address, state, due, last_reply, in_doubt, site, code, operation)"
        " VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?)",
        (
            number,
            subject.recipient,
            "held" if doubt else subject.state.value,
            subject.reply,
            int(doubt),
            subject.site or None,
            subject.code or None,
            subject.operation,
        ),
    )


class AgreementTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=400, derandomize=True)
    @given(st.lists(subjects, max_size=5), selections)
    def test_sql_and_python_agree(self, found: list[Subject], selection: Selection) -> None:
        """On any queue and for any filters, the condition in SQL selects what the predicate in Python does."""
        database = schema.memory()
        schema.prepare(database, "memory")
        numbered = [
            dataclasses.replace(each, message=number, routes=routes(each.recipient))
            for number, each in enumerate(found, 1)
        ]
        for subject in numbered:
            store(database, subject.message, subject)
        condition, parameters = where(selection, NOW)
        bind(database, selection, routes)
        tables = "recipients r JOIN messages m ON m.id = r.message" if needs_message(selection) else "recipients r"
        rows = database.execute(f"SELECT r.message FROM {tables} WHERE {condition} ORDER BY 1", parameters)
        expected = [subject.message for subject in numbered if matches(selection, subject, NOW)]
        self.assertEqual(expected, [message for (message,) in rows])
        database.close()

    @settings(deadline=None, max_examples=100, derandomize=True)
    @given(selections)
    def test_words_come_back(self, selection: Selection) -> None:
        """A selection is spelled in words, and those give the same selection, but for the ids and a domain's case."""
        alone = dataclasses.replace(selection, messages=None, domain=selection.domain and selection.domain.lower())
        self.assertEqual(alone, selection_from(words_of(alone)))


class WordTests(SynchronousTestCase):
    def test_page_is_rendered(self) -> None:
        """docs/queue.md has the table that `make docs` renders of the filters."""
        page = (Path(__file__).parent.parent.parent / PAGE).read_text()
        self.assertEqual(page, rendered(page))

    def test_bad_values_are_named(self) -> None:
        """A value of the wrong kind is an error that names its filter."""
        bad: tuple[dict[str, Any], ...] = (
            {"older": "2h"},
            {"older": -1},
            {"younger": float("nan")},
            {"larger": 1.5},
            {"larger": True},
            {"smaller": 1 << 63},
            {"operation": "x"},
            {"state": "delivered"},
            {"code": "|"},
            {"site": 5},
        )
        for words in bad:
            (name,) = words
            self.assertIn(name, str(self.assertRaises(ValueError, selection_from, words)))

    def test_what_is_not_known_of_mail_to_come(self) -> None:
        """A rule for mail to come may ask for what the envelope and the content tell, and for nothing else."""
        known = Selection(sender="a@*", recipient="b@*", domain="x.test", larger=1, smaller=9)
        self.assertEqual(known, foreseen(known))
        for each in FILTERS:
            if not each.foresees:
                value: Any = State.HELD if each.name == "state" else 1
                wrong = dataclasses.replace(Selection(), **{each.name: value})
                self.assertIn(each.name, str(self.assertRaises(ValueError, foreseen, wrong)))
        self.assertRaises(ValueError, foreseen, Selection(messages=(1,)))

    def test_values_of_a_command_line(self) -> None:
        """Ages and sizes are written as in the configuration, and sizes as the list prints them."""
        for written, octets in (("1M", 1 << 20), ("500k", 500 << 10), ("10MB", 10_000_000), ("77", 77)):
            self.assertEqual(octets, Size().convert(written, None, None))
        self.assertEqual(5400.0, Duration().convert("1h30m", None, None))

"""Who lives here, out of tables: every form of an address, at once and later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mta.address import parse_address
from mta.interfaces import ITable
from mta.policy.directory import Directory
from mta.policy.lookups import Lookups, LookupTrouble, Source
from mta.policy.relay import RelayPolicy
from mta.policy.verdict import Verdict
from mta.table import CouldNotAsk, Found, Value
from mta.tables.inline import InlineTable
from mta.tables.residents import Residents
from tests.server.fakes import HOSTNAME, STRANGER, TRUSTED, Site
from tests.tables.surroundings import Notes

USERS = ("alice", "bob@a.test", "al+ice@a.test", "kept", "jörg", "postmaster")
ALIASES = {
    "team": "alice, bob, Far@c.test",
    "team@b.test": "alice",
    "all": "team, alice, ALICE@a.test, bob@a.test",
    "kept": "\\kept, archive@c.test",
    "self": "self, alice",
    "a-loop": "b-loop",
    "b-loop": "a-loop",
    "half-loop": "half-loop2, alice",
    "half-loop2": "half-loop",
    "files": ":include:/lists/one",
    "deep-files": ":include:/lists/loop",
    "no-file": ":include:/lists/none",
    "bad-file": ":include:/lists/bad",
    "runs": 'alice, "|/usr/bin/log --tag x"',
    "writes": "/var/mail/box",
    "broken": "a@@b",
    "elsewhere@b.test": "@c.test",
    "@b.test": "@a.test",
    "@e.test": "catcher@c.test",
    "owner-team": "bob",
    **{f"step{number}": f"step{number + 1}" for number in range(60)},
}
MOVED = {"old": "new@c.test", "older": "alice@a.test", "oldest": "old"}
FILES: Mapping[str, Value] = {
    "/lists/one": ("# people", "alice, x@c.test", "", ":include:/lists/two"),
    "/lists/two": ("bob",),
    "/lists/loop": (":include:/lists/loop",),
    "/lists/bad": ("alice", "a@@b"),
}
FORWARDS: Mapping[str, Value] = {"bob@a.test": ("\\bob, bob@c.test",)}
RELAYED = ("known@relay.test", "@all.relay.test")

# What is asked for -> the code, the reason, and who takes its place.
TABLE: Mapping[str, tuple[int, str, tuple[str, ...]]] = {
    "alice@a.test": (250, "local user", ()),
    "ALICE@b.test": (250, "local user", ()),
    "JÖRG@a.test": (250, "local user", ()),
    "bob@a.test": (250, 'alias ".forward of bob"', ("bob@a.test", "bob@c.test")),
    "nobody@a.test": (550, "unknown local user", ()),
    "alice+lists@a.test": (250, "local user", ("alice@a.test",)),
    "alice-lists@a.test": (250, "local user", ("alice@a.test",)),
    "al+ice@a.test": (250, "local user", ()),
    "al+ice+x@a.test": (550, "unknown local user", ()),
    "owner-team@a.test": (250, 'alias "owner-team"', ("bob@a.test", "bob@c.test")),
    "owner-alice@a.test": (550, "unknown local user", ()),
    "team@a.test": (250, 'alias "team"', ("alice@a.test", "bob@a.test", "bob@c.test", "Far@c.test")),
    "team+x@a.test": (250, 'alias "team"', ("alice@a.test", "bob@a.test", "bob@c.test", "Far@c.test")),
    "team@b.test": (250, 'alias "team@b.test"', ("alice@b.test",)),
    "all@a.test": (250, 'alias "all"', ("alice@a.test", "bob@a.test", "bob@c.test", "Far@c.test")),
    "kept@a.test": (250, 'alias "kept"', ("kept@a.test", "archive@c.test")),
    "self@a.test": (451, "could not ask: self@a.test: is listed as a mailbox, and there is no such user", ()),
    "a-loop@a.test": (451, 'could not ask: alias "a-loop" leads in a circle', ()),
    "half-loop@a.test": (250, 'alias "half-loop"', ("alice@a.test",)),
    "files@a.test": (250, 'alias "files"', ("alice@a.test", "x@c.test", "bob@a.test", "bob@c.test")),
    "deep-files@a.test": (451, "could not ask: /lists/loop: files include one another more than 50 times", ()),
    "no-file@a.test": (451, "could not ask: /lists/none: there is no such file", ()),
    "bad-file@a.test": (451, 'could not ask: /lists/bad: line 2: "a@@b": domain is not a valid name', ()),
    "runs@a.test": (
        451,
        "could not ask: runs@a.test: pipe:/usr/bin/log --tag x as a member is not supported yet",
        (),
    ),
    "writes@a.test": (451, "could not ask: writes@a.test: mbox:/var/mail/box as a member is not supported yet", ()),
    "broken@a.test": (451, 'could not ask: "broken": "a@@b": domain is not a valid name', ()),
    "step0@a.test": (451, "could not ask: step0@a.test: is more than 50 steps away from step51@a.test", ()),
    "old@a.test": (251, "moved user", ("new@c.test",)),
    "older@a.test": (251, "moved user", ("alice@a.test",)),
    "oldest@a.test": (
        451,
        'could not ask: "oldest" has moved, and there is not one whole address that says where to',
        (),
    ),
    "elsewhere@b.test": (250, 'alias "elsewhere@b.test"', ("elsewhere@c.test",)),
    "bob@b.test": (250, 'alias "@b.test"', ("bob@a.test", "bob@c.test")),
    "anyone@e.test": (250, 'alias "@e.test"', ("catcher@c.test",)),
    "alice@e.test": (250, "local user", ()),
    "postmaster@a.test": (250, "local user", ()),
    "postmaster@d.test": (250, "local user", ()),
    "Postmaster@mx.example.org": (250, "local user", ()),
    "abuse@a.test": (250, 'alias "abuse"', ("postmaster@a.test",)),
    "abuse@e.test": (250, 'alias "@e.test"', ("catcher@c.test",)),
    "inline@a.test": (250, 'alias "inline"', ("alice@a.test", "bob@a.test", "bob@c.test")),
    "known@relay.test": (250, "relay domain", ()),
    "KNOWN@relay.test": (250, "relay domain", ()),
    "known+x@relay.test": (250, "relay domain", ()),
    "other@relay.test": (550, "unknown local user", ()),
    "any@all.relay.test": (250, "relay domain", ()),
    "alice@far.test": (550, "neither a relay domain nor a trusted client", ()),
}


@implementer(ITable)
class Later:
    """A table in front of which the network is: it answers when `answer` is called."""

    def __init__(self, table: ITable) -> None:
        self._table = table
        self.waiting: list[tuple[Deferred[Found], str]] = []

    def lookup(self, key: str) -> Deferred[Found]:
        waiting: Deferred[Found] = Deferred()
        self.waiting.append((waiting, key))
        return waiting

    def answer(self) -> bool:
        """Answer what waits; whether anything did."""
        asked, self.waiting = self.waiting, []
        for waiting, key in asked:
            found = self._table.lookup(key)
            assert not isinstance(found, Deferred)
            waiting.callback(found)
        return bool(asked)

    def close(self) -> None:
        """Nothing to give back."""


@implementer(ITable)
class Down:
    """A table that can't be asked."""

    def lookup(self, key: str) -> Found:  # noqa: ARG002
        return CouldNotAsk("users.test: no answer")

    def close(self) -> None:
        """Nothing to give back."""


def inline_tables() -> dict[Source, list[ITable]]:
    return {
        Source.USERS: [InlineTable(dict.fromkeys(USERS, ("ok",)))],
        Source.ALIASES: [InlineTable({name: (value,) for name, value in ALIASES.items()})],
        Source.MOVED: [InlineTable({name: (value,) for name, value in MOVED.items()})],
        Source.INCLUDE: [InlineTable(FILES)],
        Source.FORWARD: [InlineTable(FORWARDS)],
        Source.RECIPIENTS: [InlineTable(dict.fromkeys(RELAYED, ("x",)))],
    }


def policy(tables: Mapping[Source, list[ITable]], notes: Notes, **inline: Any) -> Residents:
    words: dict[str, Any] = {
        "domains": ["a.test", "b.test", "d.test", "e.test"],
        "aliases": {"inline": ["alice", "bob"]},
        "hostname": HOSTNAME,
    }
    directory = Directory(**{**words, **inline})
    rules = RelayPolicy(directory, networks=["10.0.0.0/8"], relay_domains=["relay.test", "all.relay.test"])
    lookups = Lookups(directory, frozenset(tables), "+-")
    return Residents(rules, lookups, tables, lambda kind, fields: notes.append((kind, fields)))


class FormTests(SynchronousTestCase):
    maxDiff = None

    def judged(self, found: Verdict | Deferred[Verdict]) -> tuple[int, str, tuple[str, ...]]:
        assert isinstance(found, Verdict), found
        code = 250 if found.reply is None else found.reply.code
        return code, found.reason, tuple(map(str, found.recipients))

    def test_at_once(self) -> None:
        """Every form of an address has its answer, and without a Deferred where all tables are at hand."""
        residents = policy(inline_tables(), [])
        found = {text: self.judged(residents.recipient(parse_address(text, utf8=True), False)) for text in TABLE}
        self.assertEqual(dict(TABLE), found)

    def test_later(self) -> None:
        """Where each table answers later, the answers are the same."""
        later = {source: [Later(table) for table in tables] for source, tables in inline_tables().items()}
        residents = policy({source: list[ITable](tables) for source, tables in later.items()}, [])
        for text, expected in TABLE.items():
            answer = residents.recipient(parse_address(text, utf8=True), False)
            while any(table.answer() for tables in later.values() for table in tables):
                pass
            verdict = self.successResultOf(answer) if isinstance(answer, Deferred) else answer
            self.assertEqual(expected, self.judged(verdict), text)

    def test_mailboxes_of_the_queue(self) -> None:
        """The queue hears who is nobody, and a failure where that can't be told: it must not bounce then."""
        residents = policy(inline_tables(), [])
        for text, nobody in {"alice@a.test": False, "nobody@a.test": True, "team@a.test": False}.items():
            self.assertEqual(nobody, residents.is_nobody(parse_address(text)), text)
        down = policy({Source.USERS: [Down()]}, [])
        with self.assertRaises(LookupTrouble):
            down.is_nobody(parse_address("alice@a.test"))

    def test_first_table_first(self) -> None:
        """The configuration comes before the tables, the exact key of any table before a shorter key of another."""
        tables: dict[Source, list[ITable]] = {
            Source.ALIASES: [
                InlineTable({"x": ("first@c.test",), "inline": ("table@c.test",)}),
                InlineTable({"x@a.test": ("second@c.test",), "x": ("third@c.test",)}),
            ]
        }
        residents = policy(tables, [], users=["alice", "bob"])
        for text, expected in {
            "inline@a.test": ("alice@a.test", "bob@a.test"),
            "x@a.test": ("second@c.test",),
            "x@b.test": ("first@c.test",),
        }.items():
            self.assertEqual(expected, self.judged(residents.recipient(parse_address(text), False))[2], text)


class SessionTests(SynchronousTestCase):
    def test_could_not_ask(self) -> None:
        """While a table can't be asked RCPT, VRFY and EXPN are 451, for whomever, and the log says why."""
        notes: Notes = []
        site = Site(policy=policy({Source.USERS: [Down()]}, notes))
        client = site.hello(TRUSTED)
        client.say(b"MAIL FROM:<a@c.test>\r\n")
        for command in (b"RCPT TO:<alice@a.test>", b"RCPT TO:<nobody@a.test>", b"VRFY alice", b"EXPN alice"):
            self.assertEqual(b"451 4.4.3", client.say(command + b"\r\n")[:9], command)
        self.assertEqual({"users.test: no answer"}, {fields["reason"] for _kind, fields in notes})
        # What needs no table is not held up.
        self.assertEqual(["250"], client.codes(b"RCPT TO:<x@far.test>\r\n"))

    def test_vrfy_and_expn(self) -> None:
        """VRFY and EXPN answer from the tables that RCPT asks."""
        client = Site(policy=policy(inline_tables(), [])).hello(TRUSTED)
        self.assertEqual(b"250 2.1.5 <alice@a.test>\r\n", client.say(b"VRFY alice@a.test\r\n"))
        self.assertEqual(b"550", client.say(b"VRFY nobody@a.test\r\n")[:3])
        self.assertEqual(b"252", client.say(b"VRFY alice@far.test\r\n")[:3])
        self.assertEqual(b"251", client.say(b"VRFY old@a.test\r\n")[:3])
        self.assertEqual(b"553", client.say(b"VRFY alice\r\n")[:3])
        expanded = client.say(b"EXPN team@b.test\r\n")
        self.assertEqual(b"250 2.1.5 <alice@b.test>\r\n", expanded)
        self.assertEqual(4, client.say(b"EXPN files@a.test\r\n").count(b"\r\n"))
        self.assertEqual(b"550", client.say(b"EXPN alice@a.test\r\n")[:3])

    def test_later(self) -> None:
        """A pipelined client gets its replies in order, however late the tables answer."""
        table = Later(InlineTable({"alice": ("ok",)}))
        client = Site(policy=policy({Source.USERS: [table]}, [])).hello(STRANGER)
        commands = b"MAIL FROM:<a@c.test>\r\nRCPT TO:<alice@a.test>\r\nRCPT TO:<bob@a.test>\r\nNOOP\r\n"
        self.assertEqual(["250"], client.codes(commands))
        heard = []
        while table.answer():
            heard += [client.heard()]
        self.assertEqual([b"250", b"550", b"250"], [line[:3] for line in b"".join(heard).splitlines()])

"""Users, aliases and moved users against one another."""

from __future__ import annotations

from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.config.loading import ConfigError, parse
from mta.policy.directory import Alias, Local, Moved, NotLocal, Unknown
from tests.config.test_loading import HEAD, problems_of

# Line 7 is the first below [local].
LOCAL = f"{HEAD}[local]\n"
HERE = f"{LOCAL}domains = ['x.test', 'y.test']\nusers = ['alice', 'bob@x.test']\n"
ALIASES = f"{HERE}[local.aliases]\n"  # its first line is line 10
MOVED = f"{HERE}[local.moved]\n"

GOOD = (
    "",
    "sales = ['alice', 'x@far.test', 'bob@x.test']",
    "'Sales@X.test' = ['bob']",
    "a = ['b', 'alice']\nb = ['c', 'alice']\nc = ['alice']",  # twice on different ways is no circle
    "alice = ['alice', 'copy@far.test']",
    "postmaster = ['alice', 'postmaster']",
    "'postmaster@mx.example.org' = ['alice']",
    "a = ['postmaster']",
    "'first.last' = ['alice']",
    '"\'o" = [\'"a b"@far.test\']',
    "'jörg' = ['jürgen@bücher.test']",
    "a0 = ['alice']\n" + "\n".join(f"a{n} = ['a{n - 1}']" for n in range(1, 10)),
)
BAD_ALIASES: dict[str, list[str]] = {
    # one entry alone
    "sales = 'alice'": ['10: sales: must be a list in brackets, not "alice"'],
    "sales = []": ["10: sales: must not be empty"],
    "sales = [5]": ["10: sales: must be text in quotes, not 5"],
    "first.last = ['alice']": [
        "10: first: must be a list in brackets, not a table; a key with a dot in it stands in quotes"
    ],
    "ok = ['alice']\n'a b' = ['alice']": ['11: a b: "a b": local part is malformed'],
    "a = ['b c', 'd@x test']": [
        '10: a: "b c": local part is malformed',
        '10: a: "d@x test": domain is not a valid name',
    ],
    "'' = ['alice']": ['10: : "": local part is malformed'],
    # against the others
    "'q@z.test' = ['alice']": ["10: q@z.test: is at a domain that is not in local.domains"],
    "a = ['nobody']": ['10: a: leads to "nobody@x.test", who is neither a user nor an alias here'],
    "a = ['nobody@y.test']": ['10: a: leads to "nobody@y.test", who is neither a user nor an alias here'],
    "a = ['bob']": ['10: a: leads to "bob@y.test", who is neither a user nor an alias here'],
    "'a@y.test' = ['bob']": ['10: a@y.test: leads to "bob@y.test", who is neither a user nor an alias here'],
    # circles
    "a = ['a']": ['10: a: lists itself, but "a" is not in local.users'],
    "a = ['b']\nb = ['alice', 'c']\nc = ['a']": [
        "12: c: leads in a circle: a@x.test -> b@x.test -> c@x.test -> a@x.test"
    ],
    "'a@x.test' = ['A@Y.test']\n'a@y.test' = ['a@X.test']": [
        "11: a@y.test: leads in a circle: a@x.test -> a@y.test -> a@x.test"
    ],
    "a0 = ['alice']\n" + "\n".join(f"a{n} = ['a{n - 1}']" for n in range(1, 15)): [
        "20: a10: is more than 10 steps away from a mailbox"
    ],
    "\n".join(f"a{n} = ['a{n - 1}']" for n in range(14, 0, -1)) + "\na0 = ['alice']": [
        "14: a10: is more than 10 steps away from a mailbox"
    ],
}
BAD_MOVED: dict[str, list[str]] = {
    "old = 'new'": ['10: old: "new" must be a whole address'],
    "old = ['new@z.test']": ["10: old: must be text in quotes, not a list"],
    "old.name = 'new@z.test'": [
        "10: old: must be text in quotes, not a table; a key with a dot in it stands in quotes"
    ],
    "alice = 'a@z.test'": ["10: alice: is in local.users too; who has moved has no mailbox here"],
    "old = 'nobody@x.test'": ['10: old: leads to "nobody@x.test", who is neither a user nor an alias here'],
    "old = 'old@y.test'\n'old@y.test' = 'old@x.test'": [
        "11: old@y.test: leads in a circle: old@x.test -> old@y.test -> old@x.test"
    ],
    "'old@z.test' = 'a@b.test'": ["10: old@z.test: is at a domain that is not in local.domains"],
}
BAD_LOCAL: dict[str, list[str]] = {
    "aliases = 5\nmoved = []": [
        "f:7: local.aliases: must be a table, not 5",
        "f:8: local.moved: must be a table, not a list",
    ],
    "aliases = {A = ['x@z.test'], a = ['y@z.test']}": ['f:7: local.aliases: "A" and "a" are the same name'],
    "aliases = {a = ['x@z.test'], postmaster = ['root']}\nmoved = {b = 'b@z.test'}": [
        "f:7: local.aliases.a: is nobody: local.domains is empty",
        'f:7: local.aliases.postmaster: leads to "root", but local.domains is empty',
        "f:8: local.moved.b: is nobody: local.domains is empty",
    ],
    "domains = ['x.test']\naliases = {a = ['b']}\nmoved = {b = 'b@z.test'}\nmoved_reply = '551'": [
        'f:8: local.aliases.a: leads to "b@x.test", who has moved; local.moved_reply says not to forward'
    ],
    "domains = ['x.test']\naliases = {a = ['c@z.test']}\nmoved = {a = 'b@z.test'}": [
        "f:9: local.moved.a: is in local.aliases too; it is one or the other"
    ],
    # nothing follows from an entry that is wrong already
    "domains = ['x.test']\naliases = {a = 5, b = ['a']}": [
        "f:8: local.aliases.a: must be a list in brackets, not 5",
    ],
}


class ConflictTests(SynchronousTestCase):
    maxDiff = None

    def test_good(self) -> None:
        """Tables in which every way ends at a mailbox are in order."""
        for text in GOOD:
            self.assertEqual([], problems_of(ALIASES + text), text)

    def test_bad(self) -> None:
        """An entry that leads to nobody, in a circle or too far is told with its line."""
        for head, name, table in ((ALIASES, "aliases", BAD_ALIASES), (MOVED, "moved", BAD_MOVED)):
            for text, problems in table.items():
                expected = [f"f:{problem.replace(': ', f': local.{name}.', 1)}" for problem in problems]
                self.assertEqual(expected, problems_of(head + text), text)

    def test_tables(self) -> None:
        """What is wrong between the tables is told too."""
        for text, problems in BAD_LOCAL.items():
            self.assertEqual(problems, problems_of(LOCAL + text), text)

    def test_anyone(self) -> None:
        """Where anyone is a user, nobody is unknown."""
        self.assertEqual(
            [], problems_of(LOCAL + "domains = ['x.test']\nusers = ['*']\naliases = {a = ['a', 'whoever']}")
        )

    def test_hostile_shapes(self) -> None:
        """A chain of 10,000, and lists that all hold one another's members, are walked in no time."""
        chain = "a0 = ['alice']\n" + "\n".join(f"a{n} = ['a{n - 1}']" for n in range(1, 10_000))
        below = [["alice"], *([f"l{layer}n{number}" for number in range(40)] for layer in range(8))]
        layers = "\n".join(f"l{layer}n{number} = {below[layer]}" for layer in range(9) for number in range(40))
        began = process_time()
        self.assertEqual(1, len(problems_of(ALIASES + chain)))
        self.assertEqual([], problems_of(ALIASES + layers))
        self.assertLess(process_time() - began, 10)


_names = st.sampled_from(["a", "b", "c", "alice", "postmaster", "a@x.test", "b@y.test", "c@far.test", "*"])
_aliases = st.dictionaries(_names, st.lists(_names, min_size=1, max_size=3), max_size=5)


class DirectoryTests(SynchronousTestCase):
    def test_the_directory(self) -> None:
        """The configuration's tables arrive in its directory, and the value can still be a key of a dictionary."""
        text = "aliases = {Sales = ['alice', 'X@far.test']}\nmoved = {'Old@Y.test' = 'New@z.test'}\nmoved_reply = '551'"
        config = parse(HERE + text, "f", {})
        self.assertEqual(config, {config: config}[parse(HERE + text, "f", {})])
        directory = config.directory()
        members = (Address("alice", "y.test"), Address("X", "far.test"))
        for address, expected in {
            Address("sales", "y.test"): Alias("sales", members),
            Address("old", "y.test"): Moved(Address("New", "z.test"), False),
            Address("old", "x.test"): Unknown(),
            Address("Alice", "x.test"): Local("local user"),
            Address("alice", "z.test"): NotLocal(),
        }.items():
            self.assertEqual(expected, directory.resolve(address), address)

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(_aliases, st.dictionaries(_names, _names, max_size=3))
    def test_every_way_ends(self, aliases: dict[str, list[str]], moved: dict[str, str]) -> None:
        """What the check lets pass leads, from every entry, to mailboxes here or elsewhere, and nowhere else."""
        tables = [f"aliases = {_inline(aliases)}", f"moved = {_inline(moved)}"]
        try:
            directory = parse(HERE + "\n".join(tables), "f", {}).directory()
        except ConfigError:
            return
        for name in (*aliases, *moved):
            local, at, domain = name.rpartition("@")
            for address in [Address(local, domain)] if at else [Address(name, home) for home in directory.domains]:
                members = directory.members(address)
                self.assertTrue(members)
                self.assertEqual(len(members), len({directory.canonical(member) for member in members}))
                for member in members:
                    if member.domain in directory.domains:
                        self.assertTrue(directory.has_mailbox(member), (address, member))


def _inline(table: dict[str, list[str]] | dict[str, str]) -> str:
    return "{" + ", ".join(f"'{key}' = {value!r}" for key, value in table.items()) + "}"

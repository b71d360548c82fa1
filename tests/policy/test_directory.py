"""Who lives here."""

from __future__ import annotations

import unittest

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.policy.directory import ANYONE, POSTMASTER, USER, Alias, Directory, Moved, NotLocal, Unknown, folded

HOSTNAME = "mx.a.test"


def directory(**changed: object) -> Directory:
    arguments: dict[str, object] = {
        "domains": ["a.test", "b.test"],
        "users": ["alice", "bob@b.test", "o'hara", "jörg"],
        "aliases": {
            "team": ["alice", "Far@c.test"],
            "team@b.test": ["bob"],
            "all": ["team", "alice", "bob@b.test", "ALICE"],
            "alice@b.test": ["alice", "archive@c.test"],
            "here": ["here"],
        },
        "moved": {"old": "new@c.test", "older@b.test": "old@b.test"},
        "hostname": HOSTNAME,
    }
    return Directory(**{**arguments, **changed})  # type: ignore[arg-type]


def address(text: str) -> Address:
    return parse_address(text, utf8=True)


def addresses(*texts: str) -> tuple[Address, ...]:
    return tuple(map(address, texts))


class ResolveTests(SynchronousTestCase):
    def test_table(self) -> None:
        """An address is a user, an alias, somebody who moved, nobody, or not ours; the exact entry comes first."""
        for text, expected in {
            "alice@a.test": USER,
            "ALICE@a.test": USER,
            "bob@b.test": USER,
            "bob@a.test": Unknown(),
            "O'Hara@b.test": USER,
            "JÖRG@a.test": USER,
            "jo\u0308rg@a.test": USER,  # the same letters, composed otherwise
            "team@a.test": Alias("team", addresses("alice@a.test", "Far@c.test")),
            "Team@b.test": Alias("team@b.test", addresses("bob@b.test")),
            "alice@b.test": Alias("alice@b.test", addresses("alice@b.test", "archive@c.test")),
            "all@a.test": Alias("all", addresses("alice@a.test", "Far@c.test", "bob@b.test")),
            "all@b.test": Alias("all", addresses("bob@b.test", "alice@b.test", "archive@c.test")),
            "old@a.test": Moved(address("new@c.test"), True),
            "older@b.test": Moved(address("old@b.test"), True),
            "older@a.test": Unknown(),
            "postmaster@a.test": POSTMASTER,
            "PostMaster@mx.a.test": POSTMASTER,
            "alice@mx.a.test": NotLocal(),
            "alice@c.test": NotLocal(),
            "alice@sub.a.test": NotLocal(),
            '"alice@a.test"@b.test': Unknown(),  # the text of an entry is not the entry
            '"team@b.test"@b.test': Unknown(),
            "*@a.test": Unknown(),
        }.items():
            self.assertEqual(expected, directory().resolve(address(text)), text)

    def test_everyone_else(self) -> None:
        """The alias of a whole domain is for whom nothing else is named there; as a member "@..." keeps the name."""
        found = directory(aliases={"@a.test": ["@b.test"], "@b.test": ["rest@c.test"], "team": ["alice"]})
        for text, expected in {
            "alice@a.test": USER,
            "team@a.test": Alias("team", addresses("alice@a.test")),
            "bob@a.test": Alias("@a.test", addresses("bob@b.test")),
            "nobody@a.test": Alias("@a.test", addresses("rest@c.test")),
            "postmaster@b.test": Alias("@b.test", addresses("rest@c.test")),
            "postmaster@mx.a.test": POSTMASTER,
        }.items():
            self.assertEqual(expected, found.resolve(address(text)), text)

    def test_abuse(self) -> None:
        """RFC 2142 4: abuse is read by whoever reads postmaster's mail, unless somebody has the name."""
        self.assertEqual(Alias("abuse", addresses("postmaster@a.test")), directory().resolve(address("abuse@a.test")))
        read = directory(aliases={"postmaster": ["alice"]})
        self.assertEqual(Alias("abuse", addresses("alice@b.test")), read.resolve(address("Abuse@b.test")))
        self.assertEqual(USER, directory(users=["abuse"]).resolve(address("abuse@a.test")))
        self.assertEqual(ANYONE, directory(users=["*"]).resolve(address("abuse@a.test")))
        self.assertEqual(NotLocal(), directory().resolve(address("abuse@mx.a.test")))

    def test_anyone(self) -> None:
        """ "*" is everyone who has no entry, at our domains alone."""
        open_to_all = directory(users=["*"])
        for text, expected in {
            "whoever@a.test": ANYONE,
            "*@a.test": ANYONE,
            "old@a.test": Moved(address("new@c.test"), True),
            "team@b.test": Alias("team@b.test", addresses("bob@b.test")),
            "postmaster@a.test": POSTMASTER,
            "whoever@mx.a.test": NotLocal(),
        }.items():
            self.assertEqual(expected, open_to_all.resolve(address(text)), text)

    def test_postmaster_alias(self) -> None:
        """An alias for postmaster wins over the mailbox that there always is, at the hostname too."""
        found = directory(aliases={"postmaster": ["alice", "postmaster"]})
        self.assertEqual(addresses("alice@b.test", "postmaster@b.test"), found.members(address("postmaster@b.test")))
        # There are no users at the hostname: names are of the first domain.
        self.assertEqual(addresses("alice@a.test", "postmaster@a.test"), found.members(address("postmaster@mx.a.test")))

    def test_not_forwarded(self) -> None:
        """Who has moved and is not forwarded stays in a list, for a refusal rather than silence."""
        found = directory(moved_forwards=False, aliases={"team": ["old", "alice"]})
        self.assertEqual(Moved(address("new@c.test"), False), found.resolve(address("old@a.test")))
        self.assertEqual(addresses("old@a.test", "alice@a.test"), found.members(address("team@a.test")))

    def test_address_literals(self) -> None:
        """A domain may be an address literal."""
        found = directory(domains=["[IPv6:2001:db8::1]"], users=["alice@[IPv6:2001:db8::1]"])
        self.assertEqual(USER, found.resolve(Address("Alice", "[IPv6:2001:db8::1]")))

    def test_circles_end(self) -> None:
        """Tables that nobody checked, with circles in them, still give an answer."""
        found = directory(
            aliases={"x": ["y"], "y": ["x"], "z": ["x", "alice"]}, moved={"m": "n@a.test", "n": "m@a.test"}
        )
        self.assertEqual(Alias("x", ()), found.resolve(address("x@a.test")))
        self.assertEqual(addresses("alice@a.test"), found.members(address("z@a.test")))
        self.assertEqual((), found.members(address("m@a.test")))


class AskingTests(SynchronousTestCase):
    def test_verify(self) -> None:
        """VRFY takes a name or a mailbox, and tells every address it may mean (RFC 5321 3.5.1)."""
        for text, expected in {
            "alice": ("alice@a.test", "alice@b.test"),
            "bob": ("bob@b.test",),
            "BOB": ("BOB@b.test",),
            "team": ("team@a.test", "team@b.test"),
            "old": ("old@a.test", "old@b.test"),
            "postmaster": ("postmaster@a.test", "postmaster@b.test", "postmaster@mx.a.test"),
            "alice@a.test": ("alice@a.test",),
            "<alice@a.test>": ("alice@a.test",),
            "<alice>": ("alice@a.test", "alice@b.test"),
            "jörg": ("jörg@a.test", "jörg@b.test"),
            "nobody": (),
            "alice@c.test": (),
            "Alice Smith": (),
            "<": (),
            "": (),
            "*": (),
            "alice@a.test bob@b.test": (),
        }.items():
            self.assertEqual(addresses(*expected), directory().verify(text), text)

    def test_expand(self) -> None:
        """EXPN tells the members of an alias, and that something is none (RFC 5321 3.5.1)."""
        for text, expected in {
            "team": ("alice@a.test", "Far@c.test"),
            "Team@B.test": ("bob@b.test",),
            "<all@a.test>": ("alice@a.test", "Far@c.test", "bob@b.test"),
        }.items():
            self.assertEqual(addresses(*expected), directory().expand(text), text)
        for text in ("alice@a.test", "bob", "old", "team@c.test", "nobody", "", "a b", "postmaster"):
            self.assertIsNone(directory().expand(text), text)


_any_local = st.text(alphabet="aAbß\u0130é@%! .*", min_size=1, max_size=6)


class DirectoryProperties(unittest.TestCase):
    @given(_any_local, st.sampled_from(["a.test", "b.test", "c.test", HOSTNAME]))
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_any_address(self, local: str, domain: str) -> None:
        """Any address has an answer, and a domain that is not ours never a mailbox, an alias or a new address."""
        resolved = directory(users=["*"]).resolve(Address(local, domain))
        self.assertEqual(domain in ("a.test", "b.test"), not isinstance(resolved, NotLocal))

    @given(st.text(max_size=20))
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_any_question(self, text: str) -> None:
        """Whatever VRFY and EXPN are asked, they answer."""
        everyone = directory(users=["*"])
        self.assertLessEqual(len(everyone.verify(text)), 3)
        self.assertTrue(everyone.expand(text) is None or everyone.expand(text))

    @given(st.text(alphabet="aAßſ\u0130\u0307éo\u0308", max_size=6))
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_folded(self, local: str) -> None:
        """Folding is done after one time."""
        self.assertEqual(folded(local), folded(folded(local)))

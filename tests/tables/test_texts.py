"""The texts that hold tables: hash sources, aliases, patterns."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.table import Kind, is_table_url, parse_table_url
from mta.tables import alias_text, keyed_text, regexp_text
from mta.tables.checking import PARSERS
from mta.tables.text import Text

KEYED = """\
# a comment
alice@a.test  ok

  # one that ends no entry
team@a.test\tbob,
   carol@c.test ,
# in the middle
\tdave
"o'hara jr"@a.test  quoted
UPPER@A.test  Folded-Key
"""
ALIASES = """\
# postmaster(7)
postmaster:  root
root: alice, "bob jr",
      carol@c.test
"big team": :include:/etc/team
Logs:|"/usr/bin/log --tag 'a, b'"
box: /var/mail/box, \\box
none:\tno@c.test
"""


class KeyedTests(SynchronousTestCase):
    def test_entries(self) -> None:
        """Lines that begin with a blank continue, comments and empty lines do not end an entry, keys have no case."""
        text = keyed_text.read(KEYED)
        self.assertEqual((), text.problems)
        for key, value in {
            "alice@a.test": "ok",
            "team@a.test": "bob, carol@c.test , dave",
            "o'hara jr@a.test": "quoted",
            "upper@a.test": "Folded-Key",
        }.items():
            self.assertEqual((value,), text.get(key), key)
        self.assertEqual(4, text.size)

    def test_problems(self) -> None:
        """Each bad entry is told with its line, and the good ones stay."""
        text = keyed_text.read('a@a.test ok\nb@a.test\nA@a.test twice\n"open ok\nc: d\n')
        self.assertEqual([2, 3, 4, 5], [line for line, _problem in text.problems])
        self.assertEqual(("ok",), text.get("a@a.test"))
        self.assertEqual([1], [line for line, _problem in keyed_text.read("  leading blank\n").problems])


class AliasTests(SynchronousTestCase):
    def test_entries(self) -> None:
        """Names may be quoted, blanks before and behind the colon do not count, long lists continue."""
        text = alias_text.read(ALIASES)
        self.assertEqual((), text.problems)
        for key, value in {
            "postmaster": "root",
            "root": 'alice, "bob jr", carol@c.test',
            "big team": ":include:/etc/team",
            "logs": "|\"/usr/bin/log --tag 'a, b'\"",
            "box": "/var/mail/box, \\box",
            "none": "no@c.test",
        }.items():
            self.assertEqual((value,), text.get(key), key)

    def test_problems(self) -> None:
        """What is no alias, comes twice, has no member or a bad one is told with its line."""
        source = 'a: b\nno colon\nA: c\nempty:\nopen: "x\nrelative: |bin/x\nup: /etc/../x\nbad: a@@b\n'
        text = alias_text.read(source)
        self.assertEqual([2, 3, 4, 5, 6, 7, 8], [line for line, _problem in text.problems])
        self.assertEqual(("b",), text.get("a"))


class RegexpTests(SynchronousTestCase):
    def answer(self, source: str, key: str) -> str | None:
        text = regexp_text.read(source)
        self.assertEqual((), text.problems)
        found = text.get(key)
        return None if found is None else found[0]

    def test_substitution(self) -> None:
        """$1, ${1} and $(1) are the groups, $$ a dollar; the first pattern that matches answers."""
        source = "/^list-(.*)@a\\.test$/ $1@lists.test\n/^(.)(.)@/ ${2}$(1)x$$\n/./ other\n"
        for key, value in {"list-ab@a.test": "ab@lists.test", "ab@b.test": "bax$", "abc@b.test": "other"}.items():
            self.assertEqual(value, self.answer(source, key))

    def test_flags(self) -> None:
        """Case does not count unless "i" says so; "!" answers where nothing matches."""
        self.assertEqual("x", self.answer("/^A@/ x", "a@a.test"))
        self.assertIsNone(self.answer("/^A@/i x", "a@a.test"))
        self.assertEqual("x", self.answer("!/@a\\.test$/ x", "b@b.test"))
        self.assertEqual("x", self.answer("|^a/b@|i x", "a/b@b.test"))

    def test_nothing_is_injected(self) -> None:
        """A part of a key that would be read as a list, a command or a file never gets into a value."""
        for local in ("a,b", "|cmd", "a b", '"', "\\x", ":include:x", "<x>"):
            key = f"{local}@a.test"
            found = self.answer("/^(.*)@a\\.test$/ $1", key)
            self.assertIsNone(found, local)
        self.assertIsNone(self.answer("/^(.*)@a\\.test$/ $1", "/etc/passwd@a.test"))

    def test_problems(self) -> None:
        """Patterns that could take hours, or mean nothing, are refused with their line."""
        bad = (
            "/(a+)+$/ x",
            "/(a*)*/ x",
            "/(.)\\1/ x",
            "/a*b*c*d*/ x",
            "/[/ x",
            "/a/z x",
            "/a/",
            "/a x",
            "abc x",
            "/a/ $1",
        )
        for line in (*bad, "if /a/", "endif", "!/(a)/ $1"):
            self.assertEqual([1], [number for number, _problem in regexp_text.read(line).problems], line)
        self.assertEqual((), regexp_text.read("/^(a|b)+@/ x\n/^[a-z]{1,3}\\.(.*)@(.*)$/ $1\n").problems)


class AnythingTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(sorted(PARSERS, key=lambda kind: kind.value)), st.text(st.sampled_from('a:@#/,"\\ \n\t|!$1(*)'))
    )
    def test_any_text(self, kind: Kind, source: str) -> None:
        """No text raises, and each problem has a line that exists."""
        text: Text = PARSERS[kind](source)
        for line, _problem in text.problems:
            self.assertTrue(1 <= line <= source.count("\n") + 1)
        text.get("a@a")


class UrlTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Each kind is told by its scheme; what is shown to people has no password and no statement."""
        for text, kind, shown in (
            ("file:/etc/mta/users", Kind.FILE, "file:/etc/mta/users"),
            ("file:///etc/mta/users", Kind.FILE, "file:/etc/mta/users"),
            ("ALIASES:etc/aliases", Kind.ALIASES, "aliases:etc/aliases"),
            ("sqlite:u.db?query=SELECT a FROM b WHERE c = :key", Kind.SQLITE, "sqlite:u.db"),
            ("sqlite:u.db?query=SELECT%20a%20WHERE%20c=:local", Kind.SQLITE, "sqlite:u.db"),
            (
                "postgresql://me:hush@db/mail?sslmode=verify-full&query=SELECT a WHERE c = :key",
                Kind.POSTGRESQL,
                "postgresql://me:***@db/mail?sslmode=verify-full",
            ),
            (
                "ldaps://d/dc=a?mail?sub?(mail={key})?bindname=cn=x,x-bindpw=hush",
                Kind.LDAPS,
                "ldaps://d/dc=a?mail?sub?(mail={key})?bindname=cn=x,x-bindpw=***",
            ),
            ("https://u.test/{key}", Kind.HTTPS, "https://u.test/{key}"),
        ):
            url = parse_table_url(text)
            self.assertEqual((kind, shown), (url.kind, str(url)), text)
            self.assertNotIn("hush", repr(url))

    def test_bad(self) -> None:
        """What is wrong is told with the way to write it, never with the password."""
        for text, words in {
            "hash:/etc/x": '"file:" is what comes nearest',
            "fiel:/etc/x": 'did you mean "file:"?',
            "/etc/aliases": "is not a table",
            "file:": "file:PATH",
            "file://host/x": "names a host",
            "sqlite:u.db": "lacks",
            "sqlite:u.db?query=SELECT 1": "none of :key",
            "sqlite:u.db?query=DELETE FROM x WHERE :key": "must be a SELECT",
            "postgresql://me:hush@db/mail?query=SELECT x::key": "none of :key",
            "ldap://d/dc=a?mail": "none of {key}",
            "https://u.test/all": "none of {key}",
            "http://u.test/{key}": '"https:" is what comes nearest',
            "https:///{key}": "no host",
            "file:/a\0": "NUL",
        }.items():
            with self.assertRaises(ValueError) as caught:
                parse_table_url(text)
            self.assertIn(words, str(caught.exception), text)
            self.assertNotIn("hush", str(caught.exception))

    def test_told_from_names(self) -> None:
        """No user and no address is taken for a table."""
        self.assertEqual([False] * 4, [is_table_url(text) for text in ("alice", "a@a.test", "[IPv6:::1]", '"a:b"@c')])
        self.assertTrue(is_table_url("file:/etc/x"))

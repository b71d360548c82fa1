"""The members of an alias."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.policy.members import (
    Command,
    File,
    Include,
    Member,
    MemberError,
    Person,
    SameName,
    parse_lines,
    parse_members,
)

GOOD: dict[str, tuple[Member, ...]] = {
    "alice": (Person("alice"),),
    "alice, bob@c.test ,": (Person("alice"), Person("bob", "c.test")),
    "<alice@c.test>": (Person("alice", "c.test"),),
    '"john doe"': (Person("john doe"),),
    '"a, b"@c.test, d': (Person("a, b", "c.test"), Person("d")),
    "\\alice": (Person("alice", final=True),),
    "\\alice@a.test": (Person("alice", "a.test", final=True),),
    "@C.test": (SameName("c.test"),),
    "|/usr/bin/x": (Command(("/usr/bin/x",)),),
    '"|/usr/bin/x -a \\"b c\\", d"': (Command(("/usr/bin/x", "-a", "b c,", "d")),),
    '|"/usr/bin/x a;b $(c)"': (Command(("/usr/bin/x", "a;b", "$(c)")),),
    "/var/mail/x": (File("/var/mail/x"),),
    '"/var/mail/x y"': (File("/var/mail/x y"),),
    ":include:/etc/list": (Include("/etc/list"),),
    '":include: /etc/my list"': (Include("/etc/my list"),),
    "jörg@bücher.test": (Person("jörg", "xn--bcher-kva.test"),),
    "": (),
    " , ,": (),
}


class MemberTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Each form of a member is told from the others, in quotes or not."""
        for text, expected in GOOD.items():
            self.assertEqual(expected, parse_members(text), text)

    def test_bad(self) -> None:
        """What is none is told, and never taken for a name."""
        for text in (
            '"open',
            "a b",
            "a@@b",
            "|x",
            "|",
            "| ",
            '|/x "y',
            "/",
            "/a/",
            "/a/../b",
            ":include:list",
            "@",
            "\\",
        ):
            with self.assertRaises(MemberError, msg=text):
                parse_members(text)

    def test_lines(self) -> None:
        """A file has lists on its lines, comments and empty lines; an error tells which line."""
        self.assertEqual((Person("a"), Person("b"), Person("c")), parse_lines(["a, b", "", " # x", "c"]))
        with self.assertRaises(MemberError) as caught:
            parse_lines(["a", "b c"])
        self.assertIn("line 2", str(caught.exception))

    def test_next_hops(self) -> None:
        """Commands and files are written as next hops are."""
        commands = parse_members("\"|/bin/x 'a b'\", /var/mail/y")
        self.assertEqual(
            ["pipe:/bin/x 'a b'", "mbox:/var/mail/y"],
            [member.next_hop for member in commands if isinstance(member, Command | File)],
        )

    @settings(max_examples=300, deadline=None)
    @given(st.text(st.sampled_from('a@.,"\\|/: <>;é\t\0')))
    def test_any_text(self, text: str) -> None:
        """No text raises anything but a sentence."""
        try:
            parse_members(text)
        except MemberError as error:
            self.assertTrue(str(error))

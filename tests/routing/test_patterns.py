"""Patterns, and finding the first rule that matches."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, parse_address
from mta.routing.patterns import FirstMatch, Pattern, parse_pattern

# A small world, so that patterns and addresses meet often.
LOCALS = ("a", "B", "postmaster")
DOMAINS = ("test", "x.test", "a.x.test", "b.a.x.test", "xx.test", "[192.0.2.1]")
ADDRESSES = tuple(parse_address(f"{local}@{domain}") for local in LOCALS for domain in DOMAINS)
PATTERNS = tuple(
    parse_pattern(text)
    for text in (
        "*",
        *(f"*@{domain}" for domain in DOMAINS),
        *(f"*@.{domain}" for domain in DOMAINS[:-1]),
        *(f"{local}@{domain}" for local in LOCALS for domain in DOMAINS),
    )
)
rules = st.lists(st.lists(st.sampled_from(PATTERNS), max_size=4), max_size=6)


class PatternTests(SynchronousTestCase):
    def test_matches(self) -> None:
        """Each kind of pattern matches what the documentation says and nothing beside it; case does not matter."""
        table = {
            "*": (["a@x.test", '"a b"@[192.0.2.1]'], []),
            "*@x.test": (["a@x.test", "b@X.TEST"], ["a@y.x.test", "a@xx.test", "a@test"]),
            "*@.x.test": (["a@y.x.test", "a@z.y.x.test"], ["a@x.test", "a@xx.test", "a@y.test"]),
            "Alice@X.test": (["alice@x.test", "ALICE@x.test"], ["bob@x.test", "alice@y.x.test"]),
            '"a b"@x.test': (['"a b"@x.test', '"A\\ B"@x.test'], ["ab@x.test"]),
            "Jörg@bücher.test": (
                ["jörg@xn--bcher-kva.test", "JÖRG@BÜCHER.test", "jo\u0308rg@bücher.test"],
                ["jorg@bücher.test"],
            ),
            "*@.bücher.test": (["a@b.bücher.test"], ["a@bücher.test"]),
            "*@[192.0.2.1]": (["a@[192.0.2.1]"], ["a@[192.0.2.2]"]),
        }
        for text, (good, bad) in table.items():
            pattern = parse_pattern(text)
            self.assertEqual(
                [True] * len(good), [pattern.matches(parse_address(address, utf8=True)) for address in good], text
            )
            self.assertEqual(
                [False] * len(bad), [pattern.matches(parse_address(address, utf8=True)) for address in bad], text
            )

    def test_bad_patterns(self) -> None:
        """What is no pattern is refused with a reason that names it."""
        table = {
            "example.org": 'for all of a domain write "*@example.org"',
            "": "is not a pattern",
            "*@*": 'for everyone write "*"',
            "alice@*": 'a domain can\'t be "*"',
            "*@": "domain is not a valid name",
            "*@.": "domain is not a valid name",
            "*@..x.test": "domain is not a valid name",
            "*@*.x.test": "domain is not a valid name",
            "alice@.x.test": "domain is not a valid name",
            "ali*@x.test": "a star stands for the whole local part only",
            "a b@x.test": "local part is malformed",
            "*@x.test ": "domain is not a valid name",
        }
        for text, reason in table.items():
            with self.assertRaises(ValueError) as caught:
                parse_pattern(text)
            self.assertIn(reason, str(caught.exception))
            self.assertIn(f'"{text}"', str(caught.exception))

    def test_text_comes_back(self) -> None:
        """The text of a pattern reads as the same pattern."""
        for pattern in (*PATTERNS, parse_pattern('"a b"@x.test')):
            self.assertEqual(pattern, parse_pattern(str(pattern)))


class FirstMatchTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=400, derandomize=True)
    @given(rules, st.sampled_from(ADDRESSES))
    @example([[parse_pattern("a@x.test")], [parse_pattern("*")]], parse_address("a@x.test"))
    @example([[parse_pattern("*")], [parse_pattern("a@x.test")]], parse_address("a@x.test"))
    def test_the_order_of_the_file_decides(self, rules: list[list[Pattern]], address: Address) -> None:
        """The index finds the same rule as trying each pattern of each rule in order."""
        slow = next((n for n, rule in enumerate(rules) if any(item.matches(address) for item in rule)), None)
        first = FirstMatch(rules)
        found = [first.for_domain(address.domain), first.for_address(address)]
        self.assertEqual(slow, min((number for number in found if number is not None), default=None))

    @settings(deadline=None, max_examples=400, derandomize=True)
    @given(rules, st.sampled_from(PATTERNS))
    def test_covering(self, rules: list[list[Pattern]], pattern: Pattern) -> None:
        """A covering rule has a pattern that matches all that the other does, and no earlier rule has one."""
        expected = next((n for n, rule in enumerate(rules) if any(_is_wider(item, pattern) for item in rule)), None)
        self.assertEqual(expected, FirstMatch(rules).covering(pattern))


def _is_wider(one: Pattern, other: Pattern) -> bool:
    """Whether `one` matches all that `other` does, from the definition of the patterns."""
    if one.domain is None or one == other:
        return True
    if other.domain is None or (one.local is not None and one.local != other.local):
        return False
    if one.domain.startswith("."):
        return other.domain.endswith(one.domain)
    return one.domain == other.domain

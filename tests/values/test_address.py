"""Mailboxes and paths: RFC 5321 4.1.2."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import (
    Address,
    AddressError,
    parse_address,
    parse_domain,
    parse_forward_path,
    parse_reverse_path,
)

GOOD = [
    # text, local, domain, clause
    ("alice@example.org", "alice", "example.org", "4.1.2 Mailbox"),
    ("Alice@EXAMPLE.Org", "Alice", "example.org", "2.4: the local part keeps its case, the domain has none"),
    ("a.b+c=d@x", "a.b+c=d", "x", "4.1.2 Dot-string"),
    ("!#$%&'*+-/=?^_`{|}~@x.y", "!#$%&'*+-/=?^_`{|}~", "x.y", "RFC 5322 3.2.3 atext"),
    ('"a b"@x.y', "a b", "x.y", "4.1.2 Quoted-string"),
    ('"a\\"b\\\\c"@x.y', 'a"b\\c', "x.y", "4.1.2 quoted-pairSMTP"),
    ('"a@b"@x.y', "a@b", "x.y", "4.1.2 an at sign inside quotes is content"),
    ('"alice"@x.y', "alice", "x.y", "4.1.2 needless quotes mean the same mailbox"),
    ("a@[192.0.2.1]", "a", "[192.0.2.1]", "4.1.3 IPv4-address-literal"),
    ("a@[IPv6:2001:DB8:0::1]", "a", "[IPv6:2001:db8::1]", "4.1.3 IPv6-address-literal"),
    ("a@[ipv6:::1]", "a", "[IPv6:::1]", "4.1.3 the tag has no case"),
    ("a@xn--bcher-kva.example", "a", "xn--bcher-kva.example", "RFC 5890 A-label"),
    ("a@under_score.example", "a", "under_score.example", "in the wild"),
    ("l" * 64 + "@x.y", "l" * 64, "x.y", "4.5.3.1.1"),
]

BAD = [
    ("", "local part is malformed"),
    ("alice", "domain is missing"),
    ("@x.y", "local part is malformed"),
    (".a@x.y", "local part is malformed"),
    ("a.@x.y", "local part is malformed"),
    ("a..b@x.y", "local part is malformed"),
    ("a b@x.y", "local part is malformed"),
    ("a@b@x.y", "domain is not a valid name"),
    ('""@x.y', "local part is empty"),
    ('"a"b@x.y', "local part is malformed"),
    ('"a@x.y', "local part is malformed"),
    ('"a\tb"@x.y', "local part is malformed"),
    ("é@x.y", "local part is malformed"),
    ("a@é.y", "domain is not a valid name"),
    ("a@", "domain is not a valid name"),
    ("a@x..y", "domain is not a valid name"),
    ("a@x.y.", "domain is not a valid name"),
    ("a@-x.y", "domain is not a valid name"),
    ("a@x-.y", "domain is not a valid name"),
    ("a@" + "l" * 64 + ".y", "domain has a label longer than 63 octets"),
    ("a@" + "l." * 128 + "y", "path is longer than 256 octets"),
    ("l" * 65 + "@x.y", "local part is longer than 64 octets"),
    ("l" * 64 + "@" + ("d" * 62 + ".") * 3 + "y", "path is longer than 256 octets"),
    ("a@[192.0.2]", "address literal is not an IPv4 or IPv6 address"),
    ("a@[192.0.2.256]", "address literal is not an IPv4 or IPv6 address"),
    ("a@[192.0.2.1", "address literal is malformed"),
    ("a@[x:y]", "address literal is not an IPv4 or IPv6 address"),
    ("a@x.y\r\nRCPT TO:<b@z>", "domain is not a valid name"),
    ("a\0@x.y", "local part is malformed"),
]


class AddressTests(SynchronousTestCase):
    def test_good_mailboxes(self) -> None:
        """Each form of RFC 5321's grammar is read as it is meant, and written so that it reads the same again."""
        for text, local, domain, clause in GOOD:
            address = parse_address(text)
            self.assertEqual((local, domain), (address.local, address.domain), clause)
            self.assertEqual(address, parse_address(str(address)), clause)

    def test_bad_mailboxes(self) -> None:
        """What is outside the grammar or too long is refused with the reason."""
        for text, reason in BAD:
            error = self.assertRaises(AddressError, parse_address, text)
            self.assertEqual(reason, str(error), text)

    def test_path_of_256_octets_is_the_longest(self) -> None:
        """RFC 5321 4.5.3.1.3: 256 octets with the brackets, not one more."""
        local = "l" * 64
        domain = f"{'d' * 63}.{'d' * 63}.{'d' * 61}"
        self.assertEqual(256, len(f"<{local}@{domain}>"))
        self.assertEqual(local, parse_address(f"{local}@{domain}").local)
        self.assertRaises(AddressError, parse_address, f"{local}@{domain}d")

    @settings(deadline=None, max_examples=300)
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
    def test_any_local_part_survives_its_quoting(self, local: str) -> None:
        """parse(str(a)) == a for every printable local part, and its wire form is one token of printable ASCII."""
        address = Address(local, "x.y")
        self.assertEqual(address, parse_address(str(address)))

    @settings(deadline=None, max_examples=300)
    @given(st.text(max_size=300))
    def test_any_text_is_an_address_or_an_address_error(self, text: str) -> None:
        """No text makes the parser raise anything else, and what it accepts it reproduces."""
        try:
            address = parse_address(text)
        except AddressError:
            return
        self.assertEqual(address, parse_address(str(address)))

    def test_log_form_can_not_forge_a_line(self) -> None:
        """An address in a log is one line of printable ASCII, whatever is in it."""
        self.assertEqual('"a\\nb\\xe9"@x.test', Address("a\nb\xe9", "x.test").for_log())

    def test_hostile_length_is_refused_fast(self) -> None:
        """A megabyte of any grammar's favourite character is refused, not backtracked over."""
        for text in ("a" * 1_000_000, "a." * 500_000, '"' + "\\" * 1_000_000, "a@" + "b-" * 500_000):
            self.assertRaises(AddressError, parse_address, text)

    def test_domains(self) -> None:
        """A domain alone is checked by the same rules."""
        self.assertEqual("example.org", parse_domain("EXAMPLE.org"))
        self.assertRaises(AddressError, parse_domain, "a b")


class InternationalTests(SynchronousTestCase):
    """RFC 6531 3.3, where the caller allows it."""

    def test_mailboxes(self) -> None:
        """A local part stays as it is in Unicode, a domain becomes A-labels in lower case."""
        for text, local, domain in (
            ("почта@пример.рф", "почта", "xn--e1afmkfd.xn--p1ai"),
            ("alice@BÜCHER.example", "alice", "xn--bcher-kva.example"),
            ("j.müller@x.y", "j.müller", "x.y"),
            ('"ü ü"@x.y', "ü ü", "x.y"),
            ("plain@x.y", "plain", "x.y"),
            ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        ):
            address = parse_address(text, utf8=True)
            self.assertEqual((local, domain), (address.local, address.domain))
            self.assertEqual(address, parse_address(str(address), utf8=True))
            self.assertEqual(not local.isascii(), address.needs_utf8)

    def test_bad_mailboxes(self) -> None:
        """Control characters, labels outside IDNA 2008 and local parts over 64 octets of UTF-8 are refused."""
        for text, reason in (
            ("a\x85b@x.y", "local part is malformed"),
            ("a@☃.net", "domain is not a valid internationalized name"),
            ("ü" * 33 + "@x.y", "local part is longer than 64 octets"),
            ("a b@ü.y", "local part is malformed"),
        ):
            error = self.assertRaises(AddressError, parse_address, text, utf8=True)
            self.assertEqual(reason, str(error), text)
        error = self.assertRaises(AddressError, parse_domain, "ü" * 256, utf8=True)
        self.assertEqual("domain is longer than 255 octets", str(error))

    def test_only_where_allowed(self) -> None:
        """Without `utf8` nothing beyond ASCII is read."""
        for text in ("почта@x.y", "a@пример.рф"):
            self.assertRaises(AddressError, parse_address, text)

    @settings(deadline=None, max_examples=300)
    @given(st.text(max_size=100))
    def test_any_text(self, text: str) -> None:
        """No text makes the parser raise anything but an address error, and what it accepts it reproduces."""
        try:
            address = parse_address(text, utf8=True)
        except AddressError:
            return
        self.assertEqual(address, parse_address(str(address), utf8=True))


class PathTests(SynchronousTestCase):
    def test_null_reverse_path(self) -> None:
        """RFC 5321 4.5.5: ``<>`` is the null reverse-path, and what follows is left alone."""
        self.assertEqual((None, " SIZE=10"), parse_reverse_path("<> SIZE=10"))

    def test_null_forward_path_is_refused(self) -> None:
        """RFC 5321 4.1.1.3: a recipient can't be empty."""
        self.assertRaises(AddressError, parse_forward_path, "<>", "x.y")

    def test_source_route_is_dropped(self) -> None:
        """RFC 5321 appendix C: source routes are accepted and ignored."""
        self.assertEqual((Address("c", "d.test"), ""), parse_forward_path("<@a.test,@b.test:c@d.test>", "x.y"))
        for bad in ("<@a.test>", "<@a.test:>", "<@:c@d>", "<@a,b:c@d>", "<@a.test,c@d.test>"):
            self.assertRaises(AddressError, parse_forward_path, bad, "x.y")

    def test_postmaster_needs_no_domain(self) -> None:
        """RFC 5321 4.5.1: ``<Postmaster>`` in any case is ours."""
        self.assertEqual((Address("PostMaster", "mx.test"), ""), parse_forward_path("<PostMaster>", "mx.test"))
        self.assertRaises(AddressError, parse_reverse_path, "<postmaster>")

    def test_brackets_inside_quotes_do_not_end_the_path(self) -> None:
        """A closing bracket in a quoted local part belongs to it."""
        self.assertEqual((Address("a>b", "x.y"), " X"), parse_reverse_path('<"a>b"@x.y> X'))
        self.assertEqual((Address('a">b', "x.y"), ""), parse_reverse_path('<"a\\">b"@x.y>'))

    def test_malformed_paths(self) -> None:
        """Brackets are not optional and must be closed."""
        for bad in ("a@x.y", "<a@x.y", "", "<a@x.y SIZE=1", "< a@x.y>", "<a@x.y >", "<<a@x.y>>"):
            self.assertRaises(AddressError, parse_reverse_path, bad)

"""Who may send to whom."""

from __future__ import annotations

import unittest

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address, AddressError, parse_forward_path
from mta.policy.directory import Directory
from mta.policy.relay import RelayPolicy

HOSTNAME = "mx.local.test"
ALIASES = {
    "Sales": ["alice", "bob@other.test", "Agency@partner.test"],
    "single@other.test": ["alice"],
    "nested": ["sales", "alice", "gone"],
    "odd%name": ["alice"],
    "empty": [],
}
MOVED = {"gone": "New@far.test", "promoted@other.test": "sales@local.test"}


def policy(*users: str, relay: tuple[str, ...] = ("relay.test", ".sub.test")) -> RelayPolicy:
    directory = Directory(
        domains=["Local.test", "other.test"],
        users=users or ("Alice", "bob@other.test"),
        aliases=ALIASES,
        moved=MOVED,
        hostname=HOSTNAME,
    )
    return RelayPolicy(directory, networks=["127.0.0.0/8"], relay_domains=relay)


def code(path: str, trusted: bool = False, rules: RelayPolicy | None = None) -> str:
    """ "ok" or the codes of the refusal."""
    recipient, _ = parse_forward_path(path, HOSTNAME)
    verdict = (rules or policy()).recipient(recipient, trusted)
    return "ok" if verdict.reply is None else f"{verdict.reply.code} {verdict.reply.enhanced}"


class RecipientTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Local users, relay domains and everything else, for strangers and for trusted clients."""
        unknown, denied = "550 5.1.1", "550 5.7.1"
        for path, stranger, trusted in (
            ("<alice@local.test>", "ok", "ok"),
            ("<ALICE@LOCAL.TEST>", "ok", "ok"),
            ("<alice@other.test>", "ok", "ok"),
            ("<bob@other.test>", "ok", "ok"),
            ("<bob@local.test>", unknown, unknown),
            ("<carol@local.test>", unknown, unknown),
            ("<postmaster>", "ok", "ok"),  # RFC 5321 4.5.1
            ("<Postmaster@local.test>", "ok", "ok"),
            ("<postmaster@mx.local.test>", "ok", "ok"),
            ("<alice@mx.local.test>", denied, "ok"),
            ("<sales@local.test>", "ok", "ok"),
            ("<SALES@other.test>", "ok", "ok"),
            ("<sales@mx.local.test>", denied, "ok"),
            ("<sales@evil.test>", denied, "ok"),
            ("<single@other.test>", "ok", "ok"),
            ("<single@local.test>", unknown, unknown),
            ("<empty@local.test>", unknown, unknown),
            ("<odd%name@local.test>", "ok", "ok"),
            ("<gone@local.test>", "251 2.1.5", "251 2.1.5"),
            ("<promoted@other.test>", "251 2.1.5", "251 2.1.5"),
            ("<promoted@local.test>", unknown, unknown),
            ("<gone@evil.test>", denied, "ok"),
            ("<x@relay.test>", "ok", "ok"),
            ("<x@RELAY.test>", "ok", "ok"),
            ("<x@a.relay.test>", denied, "ok"),
            ("<x@sub.test>", denied, "ok"),
            ("<x@a.sub.test>", "ok", "ok"),
            ("<x@a.b.sub.test>", "ok", "ok"),
            ("<x@asub.test>", denied, "ok"),
            ("<x@evil.test>", denied, "ok"),
            ("<postmaster@evil.test>", denied, "ok"),
            ("<postmaster@[127.0.0.1]>", denied, "ok"),
        ):
            self.assertEqual((stranger, trusted), (code(path), code(path, trusted=True)), path)

    def test_no_relay_for_strangers(self) -> None:
        """No spelling of an address gets a stranger's mail to a third host (invariant 10, RFC 5321 3.6.1, 7.9)."""
        spellings = (
            "<user%evil.test@local.test>",
            "<evil.test!user@local.test>",
            '<"user@evil.test"@local.test>',
            '<"user@evil.test"@mx.local.test>',
            "<user%evil.test@mx.local.test>",
            "<@local.test:user@evil.test>",
            "<@local.test,@other.test:user@evil.test>",
            "<@relay.test:user@evil.test>",
            "<user%evil.test@relay.test>",
            "<evil.test!user@relay.test>",
            '<"user@evil.test"@relay.test>',
            '<"user%evil.test"@a.sub.test>',
            "<user@[192.0.2.1]>",
            "<user@[127.0.0.1]>",
            "<user@[IPv6:::1]>",
            "<alice@[127.0.0.1]>",
            "<user%evil.test@[127.0.0.1]>",
            "<user@local.test.evil.test>",
            "<alice@evil.test>",
            '<"alice@local.test"@evil.test>',
            "<user@evillocal.test>",
            "<user@xrelay.test>",
            # The members of an alias and where somebody went are no addresses of ours for all that.
            "<agency@partner.test>",
            "<new@far.test>",
            "<sales%evil.test@local.test>",
            "<evil.test!gone@local.test>",
            '<"sales@evil.test"@local.test>',
            '<"single@other.test"@local.test>',
            '<"alice@local.test"@other.test>',
        )
        for rules in (policy(), policy("*")):
            for path in spellings:
                self.assertIn(code(path, rules=rules), ("550 5.1.1", "550 5.7.1"), path)

    def test_not_even_addresses(self) -> None:
        """Spellings that are no path at all are refused before any policy sees them (RFC 5321 4.1.2)."""
        for path in ("<user@evil.test@local.test>", "<@local.test>", "<user@local.test.>", "<user@127.0.0.1", "<a@>"):
            self.assertRaises(AddressError, parse_forward_path, path, HOSTNAME)

    def test_anyone(self) -> None:
        """With "*" everybody is a local user, but a route in disguise only for trusted clients."""
        rules = policy("*")
        self.assertEqual("ok", code("<whoever@local.test>", rules=rules))
        self.assertEqual("550 5.1.1", code("<u%evil.test@local.test>", rules=rules))
        self.assertEqual("ok", code("<u%evil.test@local.test>", trusted=True, rules=rules))
        self.assertEqual("550 5.7.1", code("<x@evil.test>", rules=rules))

    def test_named_user_with_odd_name(self) -> None:
        """A user who is listed is a user, whatever the name looks like."""
        self.assertEqual("ok", code("<a%b@local.test>", rules=policy("a%b")))

    def test_all_relay_domains(self) -> None:
        """The relay domain "*" takes every domain, as it says."""
        self.assertEqual("ok", code("<x@anything.test>", rules=policy(relay=("*",))))

    def test_replacements(self) -> None:
        """An alias and a moved user are replaced by those they stand for, each once (RFC 5321 3.4, 3.9.1)."""
        alice, far = "alice@local.test", "New@far.test"
        sales = (alice, "bob@other.test", "Agency@partner.test")
        for path, recipients, expanded, reason in (
            ("<Alice@local.test>", (), False, "local user"),
            ("<sales@local.test>", sales, True, 'alias "Sales"'),
            ("<single@other.test>", ("alice@other.test",), False, 'alias "single@other.test"'),
            ("<nested@local.test>", (*sales, far), True, 'alias "nested"'),
            ("<gone@local.test>", (far,), False, "moved user"),
            ("<promoted@other.test>", sales, True, "moved user"),
        ):
            verdict = policy().recipient(parse_forward_path(path, HOSTNAME)[0], False)
            found = (tuple(map(str, verdict.recipients)), verdict.expanded, verdict.reason)
            self.assertEqual((recipients, expanded, reason), found, path)
            self.assertTrue(verdict.accepts)

    def test_moved(self) -> None:
        """Who has moved is forwarded with 251, or refused with 551; either tells the new address (RFC 5321 3.4)."""
        gone = Address("Gone", "local.test")
        for forwards, accepts, words in (
            (True, True, "251 2.1.5 .*<New@far.test>.*"),
            (False, False, "551 5.1.6 .*<New@far.test>.*"),
        ):
            directory = Directory(domains=["local.test"], moved=MOVED, moved_forwards=forwards, hostname=HOSTNAME)
            verdict = RelayPolicy(directory, networks=[], relay_domains=[]).recipient(gone, False)
            self.assertRegex(str(verdict.reply), words)
            self.assertEqual(accepts, verdict.accepts)
            self.assertEqual(forwards, bool(verdict.recipients))

    def test_postmaster(self) -> None:
        """Postmaster needs no entry, but an alias for it counts (RFC 5321 4.5.1)."""
        directory = Directory(
            domains=["local.test"], users=["alice"], aliases={"postmaster": ["alice"]}, hostname=HOSTNAME
        )
        rules = RelayPolicy(directory, networks=[], relay_domains=[])
        for path in ("<postmaster>", "<POSTMASTER@local.test>"):
            verdict = rules.recipient(parse_forward_path(path, HOSTNAME)[0], False)
            self.assertEqual((Address("alice", "local.test"),), verdict.recipients, path)
            self.assertFalse(verdict.expanded)

    def test_is_refused(self) -> None:
        """Some networks may not even begin (RFC 7504)."""
        rules = RelayPolicy(
            Directory(domains=[], hostname=HOSTNAME), networks=[], relay_domains=[], refused=["192.0.2.0/24"]
        )
        self.assertEqual([True, True, False], [rules.is_refused(ip) for ip in ("192.0.2.9", "::ffff:192.0.2.9", "::1")])

    def test_replies_name_the_recipient(self) -> None:
        """The refusal says whom it is about and why: replies to pipelined commands are hard to tell apart else."""
        verdict = policy().recipient(Address("x", "evil.test"), False)
        self.assertIn("<x@evil.test>", str(verdict.reply))
        self.assertEqual((False, "neither a relay domain nor a trusted client"), (verdict.accepts, verdict.reason))

    def test_is_trusted(self) -> None:
        """Trust comes from the client's address."""
        self.assertEqual([True, False, False], [policy().is_trusted(ip) for ip in ("127.0.0.9", "::1", "unknown")])


_local = st.text(alphabet='ab@%!". \\:,', min_size=1, max_size=12)
_domain = st.sampled_from(["evil.test", "[127.0.0.1]", "a.evil.test", "local.test.evil.test", "mx.local.test"])


class RelayProperties(unittest.TestCase):
    @given(_local, _domain)
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_domain_decides(self, local: str, domain: str) -> None:
        """Whatever the local part, a domain that is not ours is refused to strangers."""
        self.assertIsNotNone(policy("*").recipient(Address(local, domain), False).reply)

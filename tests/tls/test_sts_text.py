"""The texts of MTA-STS: TXT records, policy files, and which hosts a policy allows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.sts_policy import MAX_AGE, Mode, StsPolicy, is_pattern, own_policy
from mta.tls.sts_text import MAX_POLICY, StsTextError, parse_policy, policy_id

POLICY = b"""version: STSv1
mode: enforce
mx: mail.example.com
mx: *.example.net
mx: backupmx.example.com
max_age: 604800
"""


def enforcing(*mx: str) -> StsPolicy:
    return StsPolicy(Mode.ENFORCE, mx, 86_400, "1")


class RecordTests(SynchronousTestCase):
    """RFC 8461 3.1."""

    def test_good(self) -> None:
        """The id is found whatever stands around it, as the grammar allows."""
        for record, expected in (
            (b"v=STSv1; id=20160831085700Z;", "20160831085700Z"),
            (b"v=STSv1;id=1", "1"),
            (b"v=STSv1 \t;\t id=1 ; ", "1"),
            (b"v=STSv1; new_field=a:b/c; id=1", "1"),
            (b"v=STSv1; id=1; id=2;", "1"),
            (b"v=STSv1; id=1; ID=2", "1"),
            (b"v=STSv1; id=" + b"a" * 32, "a" * 32),
        ):
            self.assertEqual(expected, policy_id([record]), record)

    def test_others_do_not_count(self) -> None:
        """Records that don't begin with the version are discarded before they are counted."""
        others = [
            b"v=spf1 -all",
            b"",
            b"v=STSv2; id=1",
            b"v=STSv1",
            b"V=STSv1; id=1",
            b" v=STSv1; id=1",
            b"id=1;v=STSv1;",
        ]
        self.assertIsNone(policy_id(others))
        self.assertIsNone(policy_id(["v=STSv1; id=1"]))
        self.assertEqual("7", policy_id([*others, b"v=STSv1; id=7;", *others]))

    def test_bad(self) -> None:
        """What is malformed is no policy, and the reason says why."""
        for records, reason in (
            ([b"v=STSv1; id=1", b"v=STSv1; id=1"], "2 TXT records"),
            ([b"v=STSv1;"], "no id"),
            ([b"v=STSv1; x=1"], "no id"),
            ([b"v=STSv1; id="], "NAME=VALUE"),
            ([b"v=STSv1; id=a b"], "NAME=VALUE"),
            ([b"v=STSv1; id=a=b"], "NAME=VALUE"),
            ([b"v=STSv1;; id=1"], "NAME=VALUE"),
            ([b"v=STSv1; id=1;;"], "NAME=VALUE"),
            ([b"v=STSv1; =1; id=1"], "NAME=VALUE"),
            ([b"v=STSv1; " + b"n" * 33 + b"=1; id=1"], "NAME=VALUE"),
            ([b"v=STSv1; id=2016-08"], "letters and digits"),
            ([b"v=STSv1; id=" + b"a" * 33], "letters and digits"),
            ([b"v=STSv1; id=\xc3\xa9"], "beyond ASCII"),
            ([b"v=STSv1; id=1\r\n"], "NAME=VALUE"),
            ([b"v=STSv1; \x1b[31m"], "'\\x1b[31m'"),
        ):
            error = self.assertRaises(StsTextError, policy_id, records)
            self.assertIn(reason, str(error), records)

    @given(st.lists(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(b"v=STSv1;".__add__)), max_size=3))
    def test_anything(self, records: list[bytes]) -> None:
        """Any records are an id, none, or an error that can be logged."""
        try:
            found = policy_id(records)
        except StsTextError as error:
            self.assertTrue(str(error).isascii() and str(error).isprintable())
        else:
            self.assertTrue(found is None or (found.isalnum() and found.isascii()))


class PolicyFileTests(SynchronousTestCase):
    """RFC 8461 3.2."""

    def test_good(self) -> None:
        """The example of the RFC, with either line end, and all that the grammar leaves open."""
        mx = ("mail.example.com", "*.example.net", "backupmx.example.com")
        expected = StsPolicy(Mode.ENFORCE, mx, 604_800, "7")
        for data in (
            POLICY,
            POLICY.replace(b"\n", b"\r\n"),
            POLICY.removesuffix(b"\n"),
            POLICY.replace(b": ", b":"),
            POLICY.replace(b": ", b": \t"),
            POLICY.replace(b"\n", b" \t\n"),
            POLICY.replace(b"mail.example", b"MAIL.Example"),
            POLICY + b"mx: mail.example.com\n",
            POLICY + b"new.field: anything at all; \xc3\xa9\n",
            POLICY + b"mode: none\nmax_age: 1\nversion: STSv9\n",
            b"max_age: 604800\n" + POLICY,
        ):
            self.assertEqual(expected, parse_policy(data, "7"), data)

    def test_none_needs_no_mx(self) -> None:
        """A policy that takes itself back names no host (8.3)."""
        policy = parse_policy(b"version: STSv1\nmode: none\nmax_age: 86400", "1")
        self.assertEqual(((), False), (policy.mx, policy.is_enforced))

    def test_max_age(self) -> None:
        """More than a year is a year; nothing and ten digits are numbers, too."""
        for text, seconds in (
            ("0", 0),
            ("0086400", 86_400),
            ("31557600", MAX_AGE),
            ("31557601", MAX_AGE),
            ("9" * 10, MAX_AGE),
        ):
            data = POLICY.replace(b"604800", text.encode())
            self.assertEqual(seconds, parse_policy(data, "1").max_age, text)

    def test_bad(self) -> None:
        """What is malformed is no policy, and the reason says why."""
        for data, reason in (
            (b"", "no version"),
            (b"\n" + POLICY, "line 1"),
            (POLICY.replace(b"\n", b"\r"), "line 1"),
            (POLICY.replace(b"STSv1", b"STSv2"), "'STSv2'"),
            (POLICY.replace(b"STSv1", b"stsv1"), "'stsv1'"),
            (POLICY.replace(b"mode: enforce\n", b""), "no mode"),
            (POLICY.replace(b"enforce", b"Enforce"), "'Enforce'"),
            (POLICY.replace(b"enforce", b""), "line 2"),
            (POLICY.replace(b"mode:", b"mode"), "line 2"),
            (POLICY.replace(b"mode:", b" mode:"), "line 2"),
            (POLICY.replace(b"mode:", b"mode :"), "line 2"),
            (b"version: STSv1\nmode: testing\nmax_age: 1\n", "no mx"),
            (POLICY.replace(b"max_age: 604800\n", b""), "no max_age"),
            (POLICY.replace(b"604800", b"-1"), "max_age"),
            (POLICY.replace(b"604800", b"1d"), "max_age"),
            (POLICY.replace(b"604800", b"1" * 11), "max_age"),
            (POLICY.replace(b"604800", "\u0661".encode()), "max_age"),
            (POLICY.replace(b"mail.example.com", b"*"), "mx '*'"),
            (POLICY.replace(b"mail.example.com", b"*mail.example.com"), "mx '*mail"),
            (POLICY.replace(b"mail.example.com", b"mail.*.com"), "neither"),
            (POLICY.replace(b"mail.example.com", b"*.*.com"), "neither"),
            (POLICY.replace(b"mail.example.com", b".example.com"), "neither"),
            (POLICY.replace(b"mail.example.com", b"mail..com"), "neither"),
            (POLICY.replace(b"mail.example.com", b"-mail.com"), "neither"),
            (POLICY.replace(b"mail.example.com", b"m" * 64 + b".com"), "neither"),
            (POLICY.replace(b"mail.example.com", b"m." * 127 + b"com"), "neither"),
            (POLICY.replace(b"mail.example.com", b"[192.0.2.1]"), "neither"),
            (POLICY.replace(b"mail.example.com", b"m\xc3\xa4il.example.com"), "neither"),
            (POLICY.replace(b"mail.example.com", b"mail.example.com, b.example.com"), "neither"),
            (POLICY + b"x: \xff\n", "not UTF-8"),
            (POLICY + b"x: a\x1bb\n", "line 7"),
            (POLICY + b"\n", "line 7"),
            (b"<html>\n<head>", "line 1"),
            (b"\xef\xbb\xbf" + POLICY, "line 1"),
            (POLICY + b"x: " + b"a" * MAX_POLICY, "65536 octets"),
        ):
            error = self.assertRaises(StsTextError, parse_policy, data, "1")
            self.assertIn(reason, str(error), data[:80])
            self.assertTrue(str(error).isascii() and str(error).isprintable())
            self.assertLess(len(str(error)), 500)

    @given(st.one_of(st.binary(), st.binary().map(POLICY.__add__)))
    def test_anything(self, data: bytes) -> None:
        """Any octets are a policy that can be written and read again, or an error."""
        try:
            policy = parse_policy(data, "1")
        except StsTextError:
            return
        self.assertEqual(policy, parse_policy(policy.text().encode(), "1"))


class MatchTests(SynchronousTestCase):
    """RFC 8461 4.1."""

    def test_table(self) -> None:
        """A pattern is a name, or stands for one left-most label; case and a trailing dot don't matter."""
        for pattern, host, expected in (
            ("mail.example.com", "mail.example.com", True),
            ("mail.example.com", "MAIL.example.com.", True),
            ("mail.example.com", "a.mail.example.com", False),
            ("mail.example.com", "example.com", False),
            ("*.example.com", "mail.example.com", True),
            ("*.example.com", "Mail.Example.COM", True),
            ("*.example.com", "a.mail.example.com", False),
            ("*.example.com", "example.com", False),
            ("*.example.com", ".example.com", False),
            ("*.example.com", "mail.example.com.evil.test", False),
            ("*.example.com", "mailexample.com", False),
            ("*.com", "example.com", True),
            ("*.com", "com", False),
            ("*.example.com", "", False),
            ("*.example.com", "*.example.com", True),
        ):
            self.assertEqual(expected, enforcing(pattern).matches(host), (pattern, host))

    def test_any_of_several(self) -> None:
        """One pattern that matches is enough, none matches nothing."""
        self.assertTrue(enforcing("a.test", "*.b.test").matches("x.b.test"))
        self.assertFalse(enforcing().matches("x.b.test"))


class OwnPolicyTests(SynchronousTestCase):
    def test_published(self) -> None:
        """What we publish is what we would read."""
        policy = own_policy(Mode.TESTING, ("mx.example.org", "*.mail.example.org"), 604_800)
        self.assertEqual(policy.id, policy_id([policy.record().encode()]))
        self.assertEqual(policy, parse_policy(policy.text().encode(), policy.id))

    def test_id(self) -> None:
        """The id changes with the policy, and with nothing else."""
        ids = {own_policy(mode, mx, age).id for mode in Mode for mx in (("a.test",), ("b.test",)) for age in (1, 2)}
        self.assertEqual(12, len(ids))
        self.assertEqual(own_policy(Mode.NONE, (), 1), own_policy(Mode.NONE, (), 1))

    def test_patterns(self) -> None:
        """The configuration asks the same question as the reader of a policy."""
        self.assertTrue(is_pattern("*.example.org") and is_pattern("mx.example.org"))
        self.assertFalse(is_pattern("*") or is_pattern("a.*.org") or is_pattern(""))

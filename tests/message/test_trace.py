"""The trace fields: their grammar, their width, and peers who try to break them."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.message.trace import date, received, return_path

AT = 1_630_935_999.75


def field(**changes: object) -> bytes:
    arguments: dict[str, object] = {
        "helo": "client.example",
        "client_ip": "192.0.2.1",
        "client_name": "a.example",
        "by": "mx.example.org",
        "protocol": "ESMTP",
        "queue_id": "06ABCDEFGHJKM",
        "recipient": Address("bob", "b.test"),
        "at": AT,
    }
    return received(**{**arguments, **changes})  # type: ignore[arg-type]


class ReceivedTests(SynchronousTestCase):
    def test_tls(self) -> None:
        """Within TLS its version and cipher stand in a comment behind the protocol, and can't break out of it."""
        words = b" ".join(field(protocol="ESMTPS", tls="TLSv1.3 TLS_AES_256_GCM_SHA384").split())
        self.assertIn(b"with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id 06ABCDEFGHJKM for ", words)
        self.assertIn(b"(TLSv1.3 a??X:)", b" ".join(field(tls="TLSv1.3 a)\nX:").split()))

    def test_complete(self) -> None:
        """RFC 5321 4.4: from, by, with, id, for and the date, each line inside 78 characters."""
        self.assertEqual(
            field(),
            b"Received: from client.example (a.example [192.0.2.1])\r\n"
            b"\tby mx.example.org with ESMTP id 06ABCDEFGHJKM\r\n"
            b"\tfor <bob@b.test>;\r\n"
            b"\tMon, 06 Sep 2021 13:46:39 +0000\r\n",
        )

    def test_without_a_name(self) -> None:
        """RFC 5321 4.4: TCP-info is the address alone where the client has no verified name."""
        self.assertIn(b"from client.example ([192.0.2.1])\r\n", field(client_name=None))

    def test_several_recipients(self) -> None:
        """RFC 5321 7.2: without a single recipient there is no "for" that could reveal the others."""
        self.assertIn(b"id 06ABCDEFGHJKM;\r\n\tMon", field(recipient=None))

    def test_ipv6(self) -> None:
        """RFC 5321 4.1.3: an IPv6 literal has its tag, and no zone index."""
        self.assertIn(b"[IPv6:2001:db8::1]", field(client_ip="2001:db8::1"))
        self.assertIn(b"([IPv6:fe80::1])", field(client_ip="fe80::1%eth0", client_name=None))

    def test_local_user(self) -> None:
        """A message from a local user names the user and no host."""
        wire = field(helo="root", client_ip="", client_name=None, protocol="local", recipient=None)
        self.assertTrue(wire.startswith(b"Received: by mx.example.org (from user root)\r\n\twith local id "))

    def test_hostile_greeting(self) -> None:
        """A greeting with line ends or parentheses can neither begin a line nor close a comment."""
        for helo in ("x\r\nX-Evil: 1", "x\nX-Evil: 1", "x) (by me", "\0\x1b[31m", "ü", "", "x\u2028y", "; Mon,"):
            wire = field(helo=helo, client_name=helo, client_ip=helo or "1.2.3.4", protocol=helo or "SMTP")
            self.assertEqual(re.findall(rb"\r\n(?!\t)", wire), [b"\r\n"], helo)
            self.assertEqual(wire.count(b"\n"), wire.count(b"\r\n"), helo)
            self.assertNotIn(b"X-Evil: ", wire)
            self.assertEqual((wire.count(b"("), wire.count(b")"), wire.count(b";")), (1, 1, 1), helo)

    def test_long_names(self) -> None:
        """RFC 5322 2.1.1: words that fit into 78 characters stand in such lines, and no line has more than 998."""
        wire = field(helo="h" * 60, client_name="c" * 60, by="b" * 60, client_ip="2001:db8::1")
        self.assertTrue(all(len(line) <= 78 for line in wire.split(b"\r\n")), wire)
        wire = field(helo="h" * 9000, client_name="c" * 9000, by="b" * 9000, client_ip="1" * 9000)
        self.assertTrue(all(len(line) <= 998 for line in wire.split(b"\r\n")))

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.text(), st.text(), st.text(), st.text(max_size=70), st.text(max_size=70))
    def test_one_field(self, helo: str, client_ip: str, client_name: str, local: str, domain: str) -> None:
        """Whatever a peer says, the field is one field of printable ASCII, and UTF-8 in an address."""
        wire = field(helo=helo, client_ip=client_ip, client_name=client_name, recipient=Address(local, domain))
        self.assertRegex(wire, rb"\AReceived: [!-~ \x80-\xff]+\r\n(?:\t[!-~ \x80-\xff]+\r\n)+\Z")


class ReturnPathTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """RFC 5321 4.4: the reverse-path in brackets, empty for a notification."""
        table = {
            None: b"Return-Path: <>\r\n",
            Address("alice", "a.test"): b"Return-Path: <alice@a.test>\r\n",
            Address("jörg", "a.test"): "Return-Path: <jörg@a.test>\r\n".encode(),
            Address("a b", "a.test"): b'Return-Path: <"a b"@a.test>\r\n',
            Address("a\r\nX: y", "a.test"): b'Return-Path: <"a??X: y"@a.test>\r\n',
        }
        for sender, wire in table.items():
            self.assertEqual(return_path(sender), wire)


class DateTests(SynchronousTestCase):
    def test_reads_back(self) -> None:
        """RFC 5322 3.3: the date-time, read by the email package, is the second it was made of."""
        for at in (0.0, 951_782_400.9, 1_709_208_000.0, 4_102_444_799.5):
            self.assertEqual(parsedate_to_datetime(date(at)).timestamp(), int(at))
            self.assertRegex(date(at), r"\A[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000\Z")

    def test_out_of_range(self) -> None:
        """A time that no calendar holds, from a damaged row, is a date all the same."""
        self.assertEqual(date(-5.0), "Thu, 01 Jan 1970 00:00:00 +0000")
        self.assertEqual(date(1e15), "Fri, 31 Dec 9999 23:59:59 +0000")

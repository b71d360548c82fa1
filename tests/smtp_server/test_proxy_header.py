"""The header of HAProxy's PROXY protocol."""

from __future__ import annotations

import socket

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.smtp.proxy_header import LONGEST_V1, LONGEST_V2, ProxyHeader, ProxyHeaderError, read_proxy_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + b"\xdb\xed\x00\x19"
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
) + b"\xdb\xed\x00\x19"
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:203.0.113.7") * 2 + b"\xdb\xed\x00\x19"
CLIENT, CLIENT6 = ("203.0.113.7", 56301), ("2001:db8::7", 56301)


def v2(command: int, pair: int, block: bytes, size: int | None = None) -> bytes:
    """A header of version 2."""
    return SIGNATURE + bytes((command, pair)) + (len(block) if size is None else size).to_bytes(2, "big") + block


# A header; the client that it names, None for nobody; whether it is the proxy itself.
GOOD: list[tuple[bytes, tuple[str, int] | None, bool]] = [
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 56301 25\r\n", CLIENT, False),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535), False),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 0 0\r\n", ("203.0.113.7", 0), False),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 56301 25\r\n", CLIENT6, False),
    (b"PROXY TCP6 2001:0DB8:0000:0000:0000:0000:0000:0007 ::1 56301 25\r\n", CLIENT6, False),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:192.0.2.1 56301 25\r\n", CLIENT, False),
    (b"PROXY UNKNOWN\r\n", None, False),
    (b"PROXY UNKNOWN anything \xff at all\r\n", None, False),
    (b"PROXY UNKNOWN" + b" " + b"x" * (LONGEST_V1 - 16) + b"\r\n", None, False),
    (v2(0x21, 0x11, V4), CLIENT, False),
    (v2(0x21, 0x21, V6), CLIENT6, False),
    (v2(0x21, 0x21, MAPPED), CLIENT, False),
    (v2(0x21, 0x11, V4 + b"\x04\0\x03abc"), CLIENT, False),  # behind the addresses: a NOOP
    (v2(0x21, 0x21, V6 + b"\xff" * (LONGEST_V2 - 52)), CLIENT6, False),  # and what is none of the registered types
    (v2(0x20, 0x00, b""), None, True),
    (v2(0x20, 0x11, V4), None, True),
    (v2(0x20, 0xFF, b"?"), None, True),  # of LOCAL the family is ignored
    (v2(0x21, 0x00, b""), None, False),
    (v2(0x21, 0x00, b"\x04\0\0"), None, False),
    (v2(0x21, 0x12, V4), None, False),
    (v2(0x21, 0x31, b"\0" * 216), None, False),
]
BAD: list[bytes] = [
    b"EHLO client.test\r\n",
    b"\x16\x03\x01\x02\x00",  # TLS
    b"GET / HTTP/1.1\r\n",
    b"proxy TCP4 203.0.113.7 192.0.2.1 56301 25\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY  TCP4 203.0.113.7 192.0.2.1 56301 25\r\n",
    b"PROXY tcp4 203.0.113.7 192.0.2.1 56301 25\r\n",
    b"PROXY TCP5 203.0.113.7 192.0.2.1 56301 25\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56301\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56301 25 \r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56301 25 1\r\n",
    b"PROXY TCP4 203.0.113.7  192.0.2.1 56301 25\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56301 25\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56301\r25\r\n",
    b"PROXY UNKNOWN\n",
    b"PROXY UNKNOWN a\rb\r\n",
    b"PROXY TCP4 203.0.113.07 192.0.2.1 56301 25\r\n",  # octal?
    b"PROXY TCP4 203.0.113.256 192.0.2.1 56301 25\r\n",
    b"PROXY TCP4 203.0.113 192.0.2.1 56301 25\r\n",
    b"PROXY TCP4 2001:db8::7 192.0.2.1 56301 25\r\n",
    b"PROXY TCP4 203.0.113.7 2001:db8::1 56301 25\r\n",
    b"PROXY TCP6 203.0.113.7 192.0.2.1 56301 25\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 56301 25\r\n",
    b"PROXY TCP6 1::2::3 ::1 56301 25\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 25\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 56301 025\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 25\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 25\r\n",
    b"PROXY TCP4 \xd9\xa1.0.2.1 192.0.2.1 1 25\r\n",
    b"PROXY UNKNOWN" + b" " + b"x" * (LONGEST_V1 - 15) + b"\r\n",
    b"PROXY UNKNOWN" + b"x" * 200,
    SIGNATURE + b"\x11",  # version 1 in the clothes of version 2
    v2(0x22, 0x11, V4),
    v2(0x31, 0x11, V4),
    v2(0x21, 0x13, V4),
    v2(0x21, 0x41, V4),
    v2(0x21, 0x11, V4[:11]),
    v2(0x21, 0x21, V4),
    v2(0x21, 0x31, b"\0" * 215),
    v2(0x21, 0x11, b"", 0xFFFF),
    v2(0x20, 0x00, b"", LONGEST_V2 - 15),
    b"\r\n\r\n\0\r\nQUIT\r\n",
    b"\r\nEHLO x\r\n",
]


class ProxyHeaderTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Each header names its client, and its length leaves what is the client's."""
        for wire, source, local in GOOD:
            for rest in (b"", b"\r\n", b"EHLO x\r\n", wire):
                self.assertEqual(ProxyHeader(len(wire), source, local), read_proxy_header(wire + rest), wire)

    def test_good_in_pieces(self) -> None:
        """As long as an octet is missing it is waited for."""
        for wire, _source, _local in GOOD:
            for size in range(len(wire)):
                self.assertIsNone(read_proxy_header(wire[:size]), wire[:size])

    def test_bad(self) -> None:
        """What is no header is an error, however much of it has come before, and never a header."""
        for wire in BAD:
            self.assertRaises(ProxyHeaderError, read_proxy_header, wire)
            for size in range(len(wire)):
                try:
                    self.assertIsNone(read_proxy_header(wire[:size]), wire)
                except ProxyHeaderError:
                    break

    def test_soon(self) -> None:
        """The first octet that no header has ends the wait; so does a version 2 that announces too much."""
        for wire in (b"E", b"PROXX", b"\r\n\r\n\0\r\nQUIT ", v2(0x21, 0x11, b"", LONGEST_V2)):
            self.assertIsNone(read_proxy_header(wire[:-1]))
            self.assertRaises(ProxyHeaderError, read_proxy_header, wire)

    def test_memory(self) -> None:
        """Nobody is waited for beyond the longest header."""
        for start in (
            b"PROXY ",
            b"PROXY UNKNOWN ",
            SIGNATURE,
            SIGNATURE + b"\x21\x11\xff\xff",
            SIGNATURE + b"\x20\0\xf0\0",
        ):
            self.assertRaises(ProxyHeaderError, read_proxy_header, start + b"\x20" * LONGEST_V2)

    @settings(max_examples=300)
    @given(
        st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]), st.binary(max_size=200)
    )
    @example(b"PROXY TCP4 ", b"1.1.1.1 1.1.1.1 1 1\r\n")
    def test_any_octets(self, start: bytes, more: bytes) -> None:
        """Any octets are a header within them, no header, or too few."""
        try:
            header = read_proxy_header(start + more)
        except ProxyHeaderError:
            return
        if header is not None:
            self.assertLessEqual(header.length, len(start + more))
            self.assertEqual(header, read_proxy_header((start + more)[: header.length]))

"""
Any bytes where a PROXY header is expected: a header within them, an error, or a wait; the same at every cut.

A header says an address that is one, and is found again when nothing else has come; nobody is waited for beyond the
longest one.
"""

from __future__ import annotations

import ipaddress

from fuzz.input import options, segmentations, text
from mta.smtp.proxy_header import LONGEST_V2, ProxyHeader, ProxyHeaderError, read_proxy_header

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"PROXY TCP4 ",
    b"PROXY TCP6 ",
    b"PROXY UNKNOWN",
    b"192.0.2.1 ",
    b"2001:db8::1 ",
    b"65535 ",
    b"\r\n",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\0\x0c",
    b"\x21\x21\0\x24",
    b"\x20\0\0\0",
)


def _read(pieces: list[bytes]) -> ProxyHeader | str | None:
    received = b""
    for piece in pieces:
        received += piece
        try:
            header = read_proxy_header(received)
        except ProxyHeaderError as error:
            return str(error)
        if header is not None:
            return header
        assert len(received) < LONGEST_V2
    return None


def target(data: bytes) -> None:
    """The first octet is the seed of the cuts."""
    seed, _ = options(data)
    said = text(data)
    whole = _read([said])
    if isinstance(whole, ProxyHeader):
        assert whole.length <= len(said)
        assert read_proxy_header(said[: whole.length]) == whole
        if whole.source is not None:
            address, port = whole.source
            assert str(ipaddress.ip_address(address)) == address, address
            assert 0 <= port <= 0xFFFF
    for pieces in segmentations(said, seed):
        found = _read(pieces)
        assert isinstance(found, str) if isinstance(whole, str) else found == whole, (whole, found)

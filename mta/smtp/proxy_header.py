"""
Read the header that a proxy puts in front of a connection (HAProxy's PROXY protocol, versions 1 and 2).

Owns: its grammar, and the most octets that it may have.
Never: knows which proxies are believed, waits for one.
Fails: `ProxyHeaderError` as soon as the octets can't become a header.

Twisted's `haproxy:` endpoint is not used: it wants the first 8 or 16 octets in one segment, believes any text to be an
address, has no bound of time or of size, and begins the session before the header has come.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

# Specification 2.1: the longest line of version 1, with its CRLF.
LONGEST_V1 = 107
# Version 2 has room for 65,551 octets, and is meant to fit into a segment of 536 (specification 2). Names and
# certificates of clients may come with it, which are not read here.
LONGEST_V2 = 4096

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
# The first octet of this pair is the family, the second the transport: (octets of an address, octets of all four).
_TCP = {0x11: (4, 12), 0x21: (16, 36)}
# Pairs that are valid, but not of a client that could be named here: unspecified, datagrams, UNIX.
_OTHER = {0x00: 0, 0x01: 0, 0x02: 0, 0x10: 0, 0x12: 12, 0x20: 0, 0x22: 36, 0x30: 0, 0x31: 216, 0x32: 216}

_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")


class ProxyHeaderError(ValueError):
    """What came is no header; the text says why."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """
    A whole header of `length` octets; what follows them is the client's.

    `source` is the address and the port of the client; None where the proxy can't name it, or where the connection is
    the proxy's own (`local`: a look whether we are alive).
    """

    length: int
    source: tuple[str, int] | None = None
    local: bool = False


def read_proxy_header(received: bytes) -> ProxyHeader | None:
    """The header that a connection begins with, None where more of it has to come."""
    if received.startswith(_V2):
        return _version_2(received)
    if received.startswith(_V1):
        return _version_1(received)
    if _V2.startswith(received) or _V1.startswith(received):
        return None
    raise ProxyHeaderError("no PROXY header")


def _version_1(received: bytes) -> ProxyHeader | None:
    end = received.find(b"\n", 0, LONGEST_V1)
    if end < 0:
        if len(received) >= LONGEST_V1:
            raise ProxyHeaderError(f"a line of version 1 is longer than {LONGEST_V1} octets")
        return None
    line = received[: end - 1]
    # Specification 2.1: nothing but CRLF ends the line.
    if received[end - 1 : end] != b"\r":
        raise ProxyHeaderError("a line of version 1 ends in a bare LF")
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader(end + 1)
    found = _LINE.fullmatch(line)
    if not found:
        raise ProxyHeaderError("a malformed line of version 1")
    kind = ipaddress.IPv4Address if found[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        source, _destination = (kind(found[number].decode("ascii")) for number in (2, 3))
    except ValueError:
        raise ProxyHeaderError("a malformed address in a line of version 1") from None
    port, _ = (_port(found[number]) for number in (4, 5))
    return ProxyHeader(end + 1, (_spelled(source), port))


def _port(digits: bytes) -> int:
    port = int(digits)
    if port > 0xFFFF or (len(digits) > 1 and digits.startswith(b"0")):
        raise ProxyHeaderError("a malformed port in a line of version 1")
    return port


def _version_2(received: bytes) -> ProxyHeader | None:
    version = received[12:13]
    if version and version[0] not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("an unknown version or command in a header of version 2")
    if len(received) < _V2_FIXED:
        return None
    pair, size = received[13], int.from_bytes(received[14:16], "big")
    if _V2_FIXED + size > LONGEST_V2:
        raise ProxyHeaderError(f"a header of version 2 is longer than {LONGEST_V2} octets")
    local = received[12] == _LOCAL  # its addresses count for nothing, whatever they are
    wanted = 0 if local else _TCP[pair][1] if pair in _TCP else _OTHER.get(pair)
    if wanted is None:
        raise ProxyHeaderError("an unknown family or transport in a header of version 2")
    if size < wanted:
        raise ProxyHeaderError("a header of version 2 is too short for its addresses")
    if len(received) < _V2_FIXED + size:
        return None
    if local or pair not in _TCP:
        return ProxyHeader(_V2_FIXED + size, local=local)
    width = _TCP[pair][0]
    address = ipaddress.ip_address(received[_V2_FIXED : _V2_FIXED + width])
    port = received[_V2_FIXED + 2 * width :][:2]
    return ProxyHeader(_V2_FIXED + size, (_spelled(address), int.from_bytes(port, "big")))


def _spelled(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An IPv4 client of an IPv6 socket (RFC 4291 2.5.5.2) is an IPv4 client."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)

"""
Tell clients apart by their IP address.

Owns: lists of networks, and which addresses count as one client.
Never: looks up a name, or decides what a client may do.
Fails: ValueError for a network that is none; never for an address, which may be any text: it is in no network then.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# A site gets a /64 at least, and each of its hosts has 2**64 addresses: they are one client.
_CLIENT_PREFIX = 64


def _parse(ip: str) -> IPAddress | None:
    """The address; an IPv4 client of an IPv6 socket (RFC 4291 2.5.5.2) is an IPv4 client."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=4096)
def client_key(ip: str) -> str:
    """What to count a client under: its IPv4 address, or its IPv6 network of 64 bits; other text as it is."""
    address = _parse(ip)
    if address is None:
        return ip
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((int(address) >> _CLIENT_PREFIX << _CLIENT_PREFIX, _CLIENT_PREFIX)))


class Networks:
    """A list of networks in CIDR notation: ``192.0.2.0/24``, ``2001:db8::/32``, ``::1``."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(text) for text in networks)
        self._known = lru_cache(maxsize=4096)(self._search)

    def contains(self, ip: str) -> bool:
        """Whether the address is in one of the networks; the answers for the last few thousand are remembered."""
        return self._known(ip)

    def _search(self, ip: str) -> bool:
        address = _parse(ip)
        return address is not None and any(address in network for network in self._networks)

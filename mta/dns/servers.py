"""
Find the DNS servers of the system.

Owns: the reading of resolv.conf(5), as far as it names servers; which servers are trusted to have validated.
Never: follows its search list or options: we ask for absolute names only, and our time-outs have keys of their own.
Fails: OSError where the file exists but can't be read.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from mta.address import is_ip_address

SYSTEM_FILE = Path("/etc/resolv.conf")
PORT = 53
# resolv.conf(5), MAXNS: more are not looked at.
MAX_SERVERS = 3
# resolv.conf(5): without a nameserver line, or without the file, the server is on the local machine.
LOCAL = ("127.0.0.1", PORT)

Trust = Literal["local", "all", "none"]


def servers_in(text: str) -> list[tuple[str, int]]:
    """The (IP address, port) pairs that a resolv.conf names, at least one. A line that is no address is passed over."""
    servers = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and is_ip_address(words[1]):
            servers.append((words[1], PORT))
    return servers[:MAX_SERVERS] or [LOCAL]


def system_servers(path: Path = SYSTEM_FILE) -> list[tuple[str, int]]:
    """The servers of this machine."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return [LOCAL]
    return servers_in(text)


def are_trusted(servers: Iterable[tuple[str, int]], trust: Trust) -> bool:
    """
    Whether the AD flag of these servers is to be believed, as the key dns.trust_ad says.

    All of them or none: whoever can silence one on the network chooses which one answers.
    """
    if trust == "local":
        return all(ipaddress.ip_address(host).is_loopback for host, _ in servers)
    return trust == "all"

"""
Name the site of a next hop: the set of hosts that share connections and limits.

Owns: the spelling of a site's name.
Never: looks at preferences; two domains that list the same hosts in another order are one site.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from mta.destination import Host, NextHop, Transport
from mta.routing.web_address import server_of

# Long enough for two or three host names; longer ones would fill a log line and every row of a table.
MAX_NAME = 80


def site_name(hosts: Iterable[Host]) -> str:
    """
    The name for a set of mail hosts, in any order: ``mx1.example.org,mx2.example.org``.

    A long set is named by its first host, how many more there are and a hash: ``alt1.aspmx.example+4~1f0c5a...``.
    """
    return _joined({_host_name(host) for host in hosts})


def _joined(different: set[str]) -> str:
    names = sorted(different)
    joined = ",".join(names)
    if len(joined) <= MAX_NAME:
        return joined
    # 64 bits: nobody can make his own hosts share the limits of another site by searching for a collision.
    digest = hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest()[:16]
    return f"{names[0]}+{len(names) - 1}~{digest}"


def site_of(next_hop: NextHop) -> str:
    """
    The site of a next hop that needs no DNS: ``host:port`` for ``smtp://``, all of it for ``smtps://``, LMTP and
    ``pipe:``, the server of a URL, else the name of the transport. Several next hops of a route are one site, in
    whatever order or with whatever weights.

    For ``mx:`` the hosts make the site: `site_name`.
    """
    if next_hop.others:
        return _joined({site_of(replace(hop, weight=None)) for hop in next_hop.each})
    if next_hop.transport in (Transport.SMTPS, Transport.LMTP, Transport.LMTP_UNIX, Transport.PIPE):
        return str(next_hop)  # an SMTP server on the same host and port would be another
    if next_hop.transport in (Transport.HTTPS, Transport.HTTP):
        return f"{next_hop.transport.value}://{server_of(next_hop.target)}"
    if next_hop.transport is Transport.SMTP:
        return f"{_bracketed(next_hop.target)}:{next_hop.port}"
    return str(next_hop.transport.value)


def _host_name(host: Host) -> str:
    return _bracketed(host.name) if host.port == 25 else f"{_bracketed(host.name)}:{host.port}"


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name

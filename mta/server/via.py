"""
A client that is not who has connected.

Owns: what is known of it: by a PROXY header, or by XCLIENT.
Never: decides who may say so.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.smtp.xclient import Xclient

# An address that is in no network.
NOBODY = "unknown"


@dataclass(frozen=True, slots=True)
class Via:
    """
    `client` is the address that counts for limits, networks and logs, `NOBODY` where it is not known. `proxy` is that
    of the connection.

    `known` False where the proxy could not name the client, and `client` is the proxy: that must not give a stranger
    the rights of the proxy's network. `name` is the host name that the proxy gives for the client, "" for none.
    `substituted` where it was XCLIENT that named the client: then the peer of the connection is another one still.
    """

    client: str
    proxy: str
    known: bool = True
    name: str = ""
    substituted: bool = False


def substituted(asked: Xclient, client: str, via: Via | None) -> Via:
    """Who the client is after XCLIENT; it was `client` before, and known by `via`."""
    proxy = client if via is None else via.proxy
    known, name = (True, "") if via is None else (via.known, via.name)
    if asked.addr is not None:
        client, known, name = (asked.addr or NOBODY), bool(asked.addr), ""
    return Via(client, proxy, known, name if asked.name is None else asked.name, substituted=True)

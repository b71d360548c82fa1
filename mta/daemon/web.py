"""
The clients of web servers: of those that tell what a token is worth, and of those that take mail.

Owns: whether there are any, and whom they trust.
Never: asks anything.
Fails: `StartError` where the authorities can't be used.
"""

from __future__ import annotations

import os
from typing import Any

from mta.config.schema import Config
from mta.daemon.starting import StartError
from mta.destination import Transport
from mta.interfaces import IResolver
from mta.tls.https import Https
from mta.tls.https_connection import trusted


def web_client(config: Config, reactor: Any, resolver: IResolver) -> Https | None:
    """The client that auth.oauth wants, None where it wants none. Raises `StartError`."""
    oauth = config.auth.oauth
    if not oauth.is_used:
        return None
    try:
        root = trusted(oauth.ca_file)
    except (OSError, ValueError) as error:
        raise StartError(f"auth.oauth.ca_file: {oauth.ca_file}: {error}", os.EX_CONFIG) from error
    return Https(reactor=reactor, resolver=resolver, trust_root=root)


def mail_client(config: Config, reactor: Any, resolver: IResolver) -> Https | None:
    """The client for next hops that are web servers, None where no route leads to one. Raises `StartError`."""
    if all(route.next_hop.transport not in (Transport.HTTP, Transport.HTTPS) for route in config.routes):
        return None
    try:
        root = trusted(config.delivery.ca_file)
    except (OSError, ValueError) as error:
        raise StartError(f"delivery.ca_file: {config.delivery.ca_file}: {error}", os.EX_CONFIG) from error
    return Https(reactor=reactor, resolver=resolver, trust_root=root, clear=True)

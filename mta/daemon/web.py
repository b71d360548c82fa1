"""
The client of web servers that tell what a token is worth.

Owns: whether there is one, and whom it trusts.
Never: asks anything.
Fails: `StartError` where the authorities can't be used.
"""

from __future__ import annotations

import os
from typing import Any

from mta.config.schema import Config
from mta.daemon.starting import StartError
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

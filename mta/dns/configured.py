"""
The resolver that a configuration asks for.

Owns: which option becomes which argument.
Never: asks anything.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from mta.config.sending import Dns
from mta.dns.cache import Cache
from mta.dns.exchange import Server
from mta.dns.resolver import Resolver
from mta.dns.servers import system_servers


def servers_of(config: Dns) -> Sequence[Server]:
    """The servers of the configuration, else those of the system. Raises OSError."""
    return config.servers or system_servers()


def resolver_of(
    config: Dns, reactor: Any, servers: Sequence[Server], *, cache_size: int | None = None, trusts_ad: bool = False
) -> Resolver:
    """A resolver over `servers`; `cache_size` where it is another than that of the configuration."""
    return Resolver(
        reactor=reactor,
        servers=servers,
        timeout=config.timeout,
        attempts=config.attempts,
        rng=random.SystemRandom(),  # query ids must not be guessed (RFC 5452 9.2)
        cache=Cache(reactor, config.cache_size if cache_size is None else cache_size),
        negative_ttl=config.negative_ttl,
        trusts_ad=trusts_ad,
    )

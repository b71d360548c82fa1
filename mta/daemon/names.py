"""
The resolver of one configuration, and the watch over what it may be believed.

Owns: which servers are asked, whether their AD flag is trusted.
Never: reads a configuration file, decides what an answer means.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mta.config.sending import Dns
from mta.dns.cache import Cache
from mta.dns.resolver import Resolver
from mta.dns.servers import are_trusted, system_servers
from mta.dns.validation import Validation


class Names:
    """`resolver` asks as `config` says. `start` watches whether its servers validate; `stop` closes all sockets."""

    def __init__(self, config: Dns, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        servers = config.servers or system_servers()
        trusted = are_trusted(servers, config.trust_ad)
        self.resolver = self._made(servers, config.cache_size, trusted)
        # One for each server: who answers a question must not be the order of the servers. They remember nothing.
        self._each = {f"{host} port {port}": self._made([(host, port)], 0, True) for host, port in servers if trusted}
        self._validation = Validation(
            clock=reactor, resolver=self.resolver, servers=self._each, name=config.validated_name
        )

    def _made(self, servers: Sequence[tuple[str, int]], cache_size: int, trusts_ad: bool) -> Resolver:
        return Resolver(
            reactor=self._reactor,
            servers=servers,
            timeout=self._config.timeout,
            attempts=self._config.attempts,
            rng=random.SystemRandom(),  # query ids must not be guessed (RFC 5452 9.2)
            cache=Cache(self._reactor, cache_size),
            negative_ttl=self._config.negative_ttl,
            trusts_ad=trusts_ad,
        )

    def start(self) -> None:
        """Ask the servers whether they validate, now and every hour."""
        self._validation.start()

    def stop(self) -> Deferred[Any]:
        """Answer what is under way with COULD_NOT_ASK; fires when the sockets are gone."""
        self._validation.stop()
        return gatherResults([resolver.stop() for resolver in (self.resolver, *self._each.values())])

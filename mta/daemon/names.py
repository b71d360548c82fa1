"""
The resolver of one configuration, and the watch over what it may be believed.

Owns: which servers are asked, whether their AD flag is trusted.
Never: reads a configuration file, decides what an answer means.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mta.config.sending import Dns
from mta.dns.configured import resolver_of, servers_of
from mta.dns.servers import are_trusted
from mta.dns.validation import Validation


class Names:
    """`resolver` asks as `config` says. `start` watches whether its servers validate; `stop` closes all sockets."""

    def __init__(self, config: Dns, reactor: Any) -> None:
        servers = servers_of(config)
        trusted = are_trusted(servers, config.trust_ad)
        self.resolver = resolver_of(config, reactor, servers, trusts_ad=trusted)
        # One for each server: who answers a question must not be the order of the servers. They remember nothing.
        self._each = {
            f"{host} port {port}": resolver_of(config, reactor, [(host, port)], cache_size=0, trusts_ad=True)
            for host, port in servers
            if trusted
        }
        self._validation = Validation(
            clock=reactor, resolver=self.resolver, servers=self._each, name=config.validated_name
        )

    def start(self) -> None:
        """Ask the servers whether they validate, now and every hour."""
        self._validation.start()

    def stop(self) -> Deferred[Any]:
        """Answer what is under way with COULD_NOT_ASK; fires when the sockets are gone."""
        self._validation.stop()
        return gatherResults([resolver.stop() for resolver in (self.resolver, *self._each.values())])

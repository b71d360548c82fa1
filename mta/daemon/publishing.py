"""
The web server of our own MTA-STS policy, as the daemon has it.

Owns: its port, and the change from one configuration to the next. With several workers it is the supervisor's.
Never: answers a request (`mta/tls/sts_site.py`).
Fails: with `StartError` where it can't listen.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort

from mta.config.schema import Config
from mta.daemon.listening import Front, listen_at
from mta.daemon.starting import StartError
from mta.tls.configured import files
from mta.tls.contexts import Terms
from mta.tls.pairs import PairError
from mta.tls.server import ServerTls
from mta.tls.sts_site import PolicyServer, PolicySite


class Publishing:
    """Nothing at all where `sts.policy.serve` is empty. Raises `StartError`."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self._reactor = reactor
        self._tls: ServerTls | None = None
        self._front: Front | None = None
        self.port: IListeningPort | None = None
        endpoint = config.sts.policy.serve
        if endpoint:
            self._front = Front(self._made(config))
            self.port = listen_at(reactor, endpoint, "sts.policy.serve", self._front)

    def change_to(self, config: Config) -> None:
        """Go on with another configuration, on the same port. Raises `StartError`: nothing changed."""
        if self._front is not None:
            self._front.behind = self._made(config)

    async def close(self) -> None:
        """Answer no more; a client that is being answered has its policy already."""
        if self.port is not None:
            await maybeDeferred(self.port.stopListening)

    def _made(self, config: Config) -> PolicyServer:
        # Not the terms of the listeners: nobody who wants the policy is asked for a certificate.
        terms = Terms(config.tls.minimum, config.tls.ciphers)
        try:
            self._tls = ServerTls(files(config), terms, frozenset(), self._reactor.seconds, self._tls)
        except PairError as error:
            raise StartError(str(error), os.EX_CONFIG) from error
        site = PolicySite(config.policy_domains, config.sts_policy.text(), self._reactor)
        return PolicyServer(site, self._tls, self._reactor)

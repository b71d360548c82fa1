"""
Deliver by SMTP to one of the hosts of a destination.

Owns: the order of trying: an idle connection, then host by host and address by address.
Never: limits how many deliveries run at once (that is the queue manager's), speaks SMTP itself.
Fails: a cancelled delivery fails with CancelledError and its connection is aborted; trouble of any kind is an outcome.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from zope.interface import implementer

from mta.address import Address
from mta.delivery.addresses import addresses_of, in_trying_order
from mta.delivery.attempt import Attempt
from mta.delivery.connection import ClientConnection, ConnectionFactory, Opened
from mta.delivery.health import Health
from mta.delivery.pool import ConnectionPool
from mta.delivery.timeouts import ClientLimits, ClientTimeouts
from mta.destination import Host
from mta.entry import Delivery
from mta.interfaces import IDeliveryAgent, IResolver
from mta.outcome import Deferral, Outcome, Phase, Scope
from mta.smtp.client import ClientSession

_STOPPED = Deferral("this server is shutting down", Phase.QUEUE, Scope.OURSELVES, enhanced="4.3.2")


class IReactorSMTP(IReactorTCP, IReactorTime):
    """What the client needs of a reactor: to connect, and the time."""


@implementer(IDeliveryAgent)
class RemoteAgent:
    """
    The SMTP client.

    `hello` is our name for EHLO; `health` tells which addresses come last; `source_address` is the local IP address for
    connections of its family, "" for the system's choice.
    """

    def __init__(
        self,
        *,
        reactor: IReactorSMTP,
        resolver: IResolver,
        timeouts: ClientTimeouts,
        limits: ClientLimits,
        hello: str,
        health: Health,
        rng: random.Random,
        source_address: str = "",
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._timeouts = timeouts
        self._seconds = timeouts.by_stage()
        self._hello = hello
        self._health = health
        self._rng = rng
        self._source_address = source_address
        self._pool = ConnectionPool(reactor, timeouts, limits)
        self._stopped = False

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return Deferred.fromCoroutine(self._deliver(delivery))

    def stop(self) -> Deferred[None]:
        """As in `IDeliveryAgent`; no new connection is made from now on. Fires when the idle ones are closed."""
        self._stopped = True
        return self._pool.stop()

    async def _deliver(self, delivery: Delivery) -> Mapping[Address, Outcome]:
        attempt = Attempt(delivery)
        idle = self._pool.take(delivery.destination.site)
        if idle is not None:
            attempt.answered_idle(await idle.transact(attempt.transaction(), delivery.content))
        if not attempt.is_over:
            await self._try_hosts(delivery, attempt)
        return attempt.outcomes()

    async def _try_hosts(self, delivery: Delivery, attempt: Attempt) -> None:
        """
        Go through hosts and their addresses until a server has decided; what did not answer lately comes last.

        What a server says of the message or of a recipient stands. Another is asked only where one could not be
        reached, turned all mail away (a bad greeting, 421), or left before it had the final dot.
        """
        last: list[tuple[Host, str]] = []
        for host in in_trying_order(delivery.destination.hosts, self._rng):
            addresses = await addresses_of(host, self._resolver, self._rng)
            if isinstance(addresses, Deferral):
                attempt.hindered(addresses)
                continue
            for address in addresses:
                if self._health.is_dead(address, host.port, self._reactor.seconds()):
                    last.append((host, address))
                elif await self._decided_at(host, address, delivery, attempt):
                    return
        for host, address in last:
            if await self._decided_at(host, address, delivery, attempt):
                return

    async def _decided_at(self, host: Host, address: str, delivery: Delivery, attempt: Attempt) -> bool:
        """Try one address; whether the attempt is over."""
        opened = await self._connect(delivery.destination.site, host, address)
        if isinstance(opened, Deferral):
            attempt.not_connected(opened)
            if opened.scope is Scope.SITE:
                self._health.failed(address, host.port, self._reactor.seconds())
        else:
            self._health.answered(address, host.port)
            attempt.answered(await opened.transact(attempt.transaction(), delivery.content))
        return attempt.is_over

    async def _connect(self, site: str, host: Host, address: str) -> ClientConnection | Deferral:
        """A connection that is ready for a transaction, or why there is none."""
        if self._stopped:
            return _STOPPED
        label = f"{host.name}[{address}]:{host.port}"

        def make(opened: Opened) -> ClientConnection:
            session = ClientSession(self._hello, label)
            return ClientConnection(
                session, site, self._reactor, self._seconds, opened, self._pool.give, self._pool.forget
            )

        factory = ConnectionFactory(label, make)
        same_family = bool(self._source_address) and (":" in self._source_address) == (":" in address)
        source = (self._source_address, 0) if same_family else None
        self._reactor.connectTCP(address, host.port, factory, self._timeouts.connect, source)
        return await factory.opened

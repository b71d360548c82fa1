"""
Deliver by SMTP or LMTP to one of the hosts of a destination.

Owns: the order of trying: an idle connection, then host by host and address by address.
Never: limits how many deliveries run at once (that is the queue manager's), speaks SMTP itself.
Fails: a cancelled delivery fails with CancelledError and its connection is aborted; trouble of any kind is an outcome.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from mta.address import Address
from mta.delivery.addresses import Preference, addresses_of, in_trying_order
from mta.delivery.attempt import Attempt
from mta.delivery.connecting import Connector, IReactorSMTP, Server
from mta.delivery.connection import ClientConnection
from mta.delivery.entrance import Entrance
from mta.delivery.fitting import EightBit, Fitted, fitted
from mta.delivery.health import Health
from mta.delivery.next_hops import Choice, NextHops
from mta.delivery.pool import ConnectionPool
from mta.delivery.rejected_logins import Note
from mta.delivery.timeouts import ClientLimits, ClientTimeouts
from mta.delivery.tls_sessions import TlsSessions, TlsWatch, domains_of
from mta.destination import Destination, Host, Transport
from mta.entry import Delivery
from mta.envelope import RequireTls
from mta.interfaces import IClientTls, IDeliveryAgent, IResolver, ITlsPolicies, ITlsReports, ITokens
from mta.outcome import Deferral, Outcome, Phase, Scope
from mta.policy.kept_places import KeptPlaces
from mta.smtp.client_events import TransactionDone
from mta.smtp.transaction import Transaction
from mta.tls_policy import NO_TLS, TlsPolicy, TlsSource

# LMTP within this host needs no TLS (`mta/routing/tls_policies.py` says where it is).
_MAY_BE_HERE = (Transport.LMTP, Transport.LMTP_UNIX)


@implementer(IDeliveryAgent)
class RemoteAgent:
    """
    The client of SMTP and LMTP.

    `hello` is our name for EHLO; `health` tells which addresses come last; `source_address` and `base` as in
    `Connector`, `bdat` as in `ClientSession`, `eight_bit` as in `fitted`, `ip_preference` as in `addresses_of`.
    `places` are those of the sites, which idle connections keep. `tls` makes handshakes, and `policies` says what a
    host must offer; without them mail goes in clear where it may, and nowhere else. `reports` counts what became of
    TLS. `tokens` has access tokens. `next_hops` tells which of several next hops of a route rest. `note` writes a line
    into the log.
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
        base: Path = Path(),
        bdat: bool = False,
        eight_bit: EightBit = "send",
        ip_preference: Preference = "any",
        places: KeptPlaces | None = None,
        tls: IClientTls | None = None,
        policies: ITlsPolicies | None = None,
        reports: ITlsReports | None = None,
        tokens: ITokens | None = None,
        next_hops: NextHops | None = None,
        note: Note = lambda _kind, _fields: None,
    ) -> None:
        self._sessions = TlsSessions(reports) if reports is not None else None
        self._policies = policies
        self._reactor = reactor
        self._resolver = resolver
        self._health = health
        self._next_hops = next_hops or NextHops(3, 60.0, 3600.0, note)
        self._rng = rng
        self._eight_bit = eight_bit
        self._ip_preference = ip_preference
        self._pool = ConnectionPool(reactor, timeouts, limits, places.settle if places else lambda _site: None)
        if places is not None:
            places.kept_by(self._pool)
        connector = Connector(
            reactor=reactor,
            timeouts=timeouts,
            hello=hello,
            bdat=bdat,
            source_address=source_address,
            base=base,
            freed=self._pool.give,
            gone=self._pool.forget,
            tls=tls,
        )
        self._entrance = Entrance(connector, reactor, tokens, note)

    def deliver(self, delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        return Deferred.fromCoroutine(self._deliver(delivery))

    def stop(self) -> Deferred[None]:
        """As in `IDeliveryAgent`; no new connection is made from now on. Fires when the idle ones are closed."""
        self._entrance.stop()
        return self._pool.stop()

    async def _deliver(self, delivery: Delivery) -> Mapping[Address, Outcome]:
        if delivery.envelope.require_tls is not None:
            return await self._deliver_as_required(delivery)
        return (await self._attempt(delivery)).outcomes()

    async def _deliver_as_required(self, delivery: Delivery) -> Mapping[Address, Outcome]:
        """The message of a sender who says something of TLS."""
        policy, transport = delivery.destination.tls, delivery.destination.next_hop.transport
        if policy.requiretls:
            attempt = await self._attempt(delivery)
            if policy.otherwise is None or not attempt.lacks_tls:
                return attempt.outcomes()
            # RFC 8689 5: a report is not lost for want of REQUIRETLS. It holds nothing of the message but its header.
            destination = replace(delivery.destination, tls=policy.otherwise)
            rest = replace(attempt.envelope, require_tls=None)
            found = (await self._attempt(replace(delivery, destination=destination, envelope=rest))).outcomes()
            return {**attempt.outcomes(), **found}
        if delivery.envelope.require_tls is RequireTls.YES and transport not in _MAY_BE_HERE:
            why = "REQUIRETLS, and nobody has said what that takes at this next hop"
            return dict.fromkeys(delivery.recipients, Deferral(why, Phase.TLS, Scope.OURSELVES, enhanced="4.7.10"))
        # It goes to a mailbox, or need not be protected: neither is told to the server.
        plain = replace(delivery, envelope=replace(delivery.envelope, require_tls=None))
        return (await self._attempt(plain)).outcomes()

    async def _attempt(self, delivery: Delivery) -> Attempt:
        attempt = Attempt(delivery)
        if attempt.choice is not None:
            await self._try_next_hops(delivery, attempt, attempt.choice)
            return attempt
        idle = self._idle_for(delivery.destination)
        if idle is not None:
            if idle.watch is not None:
                idle.watch.used_for(domains_of(delivery))
            await self._use(idle, delivery, attempt, was_idle=True)
        if not attempt.is_over:
            await self._try_servers(delivery, attempt)
        return attempt

    def _idle_for(self, destination: Destination, place: tuple[str, int] | None = None) -> ClientConnection | None:
        """An idle connection; of several next hops to the one of that name and port."""
        return self._pool.take(destination.site, destination.tls, destination.login, place)

    async def _try_next_hops(self, delivery: Delivery, attempt: Attempt, choice: Choice) -> None:
        """
        Go through the next hops of a route as `_try_servers` goes through hosts.

        Where connections to one fail it rests, and comes after all others; an idle connection to another one does not
        keep mail from the first.
        """
        resting: list[Host] = []
        closing: list[Server] = []
        for host in in_trying_order(delivery.destination.hosts, self._rng):
            why = self._next_hops.why_rested(host, self._reactor.seconds())
            if why:
                choice.passes(host, why)
                resting.append(host)
            elif await self._decided_at_next_hop(host, delivery, attempt, choice, closing):
                return
        for host in resting:
            if await self._decided_at_next_hop(host, delivery, attempt, choice, closing):
                return
        for server in closing[:1]:
            choice.turns_to(Host(server.name, server.port))
            await self._decided_at(server, delivery, attempt, closing)

    async def _decided_at_next_hop(
        self, host: Host, delivery: Delivery, attempt: Attempt, choice: Choice, closing: list[Server]
    ) -> bool:
        """Try one next hop; whether the attempt is over."""
        choice.turns_to(host)
        attempt.latest = None
        idle = self._idle_for(delivery.destination, (host.name, host.port))
        if idle is not None:
            await self._use(idle, delivery, attempt, was_idle=True)
        if not attempt.is_over:
            unanswered: list[Server] = []
            over = await self._decided_at_host(host, delivery, attempt, unanswered, closing)
            for server in unanswered:
                over = over or await self._decided_at(server, delivery, attempt, closing)
        self._next_hops.concluded(host, attempt.latest, self._reactor.seconds())
        if attempt.latest is not None:
            choice.passes(host, f"did not do: {attempt.latest.reason}")
        elif not attempt.is_over:
            choice.passes(host, "took no mail")
        return attempt.is_over

    async def _try_servers(self, delivery: Delivery, attempt: Attempt) -> None:
        """
        Go through hosts and their addresses until a server has decided; what did not answer lately comes last.

        What a server says of the message or of a recipient stands. Another is asked only where one could not be
        reached, turned all mail away (a bad greeting, 421), or left before it had the final dot. The first that said
        421 is asked again where all others were of no use: it may have meant that connection alone (RFC 5321 3.8).
        """
        last: list[Server] = []
        closing: list[Server] = []
        if delivery.destination.next_hop.transport is Transport.LMTP_UNIX:
            last.append(Server("", delivery.destination.next_hop.target, 0, NO_TLS))
        for host in in_trying_order(delivery.destination.hosts, self._rng):
            if await self._decided_at_host(host, delivery, attempt, last, closing):
                return
        for server in last:
            if await self._decided_at(server, delivery, attempt, closing):
                return
        for server in closing[:1]:
            await self._decided_at(server, delivery, attempt, closing)

    async def _decided_at_host(
        self, host: Host, delivery: Delivery, attempt: Attempt, last: list[Server], closing: list[Server]
    ) -> bool:
        """Try the addresses of one host; those that did not answer lately join `last`. Whether the attempt is over."""
        policy = await self._policy_at(host, delivery)
        if isinstance(policy, Deferral):
            attempt.hindered(policy)
            return False
        addresses = await addresses_of(host, self._resolver, self._rng, self._ip_preference)
        if isinstance(addresses, Deferral):
            attempt.hindered(addresses)
            return False
        for address in addresses:
            server = Server(host.name, address, host.port, policy)
            if self._health.is_dead(address, host.port, self._reactor.seconds()):
                last.append(server)
            elif await self._decided_at(server, delivery, attempt, closing):
                return True
        return False

    async def _decided_at(self, server: Server, delivery: Delivery, attempt: Attempt, closing: list[Server]) -> bool:
        """Try one address; whether the attempt is over. Where it answers 421 it joins `closing`."""
        opened = await self._entrance.open(delivery.destination, server, partial(self._watch, delivery, server))
        why: Outcome | None = None
        if isinstance(opened, Deferral):
            attempt.not_connected(opened)
            why = opened
            if opened.scope is Scope.SITE:
                self._health.failed(server.address, server.port, self._reactor.seconds())
        else:
            self._health.answered(server.address, server.port)
            attempt.connected()
            before = len(attempt.undecided)
            done = await self._use(opened, delivery, attempt, was_idle=False)
            if done is not None and done.left and len(attempt.undecided) < before:
                # It serves this connection no more, and the rest on another (RFC 9422 4.1, 4.3).
                attempt.continues()
                return await self._decided_at(server, delivery, attempt, closing)
            if done is not None and done.undecided:
                why = done.outcomes[done.undecided[0]]
        if isinstance(why, Deferral) and why.reply is not None and why.reply.code == 421:
            closing.append(server)
        return attempt.is_over

    async def _policy_at(self, host: Host, delivery: Delivery) -> TlsPolicy | Deferral:
        """What is demanded of one host, or why it may not have the message."""
        policy = delivery.destination.tls
        found = self._policies.at_host(policy, host) if self._policies is not None else policy
        known = await found if isinstance(found, Deferred) else found
        # Only now: with TLSA records of its own a host need not be in its domain's MTA-STS policy.
        if not isinstance(known, Deferral) and known.allows_host(host.name):
            return known
        if self._sessions is not None:
            self._sessions.host_passed_over(delivery, host, policy, known if isinstance(known, Deferral) else None)
        if isinstance(known, Deferral):
            return known
        reason = f"{host.name} is none of the mail hosts that the policy ({known.why}) allows"
        if known.source is TlsSource.REQUIRETLS:
            reason = f"neither DNSSEC nor MTA-STS vouches for {host.name} as a mail host, and REQUIRETLS takes that"
        ends_as = "5.7.10" if known.requiretls else ""
        return Deferral(reason, Phase.TLS, Scope.MESSAGE, host.name, enhanced="4.7.5", ends_as=ends_as)

    def _watch(self, delivery: Delivery, server: Server) -> TlsWatch | None:
        """Over a new connection."""
        return self._sessions.watch(delivery, server) if self._sessions is not None else None

    async def _use(
        self, connection: ClientConnection, delivery: Delivery, attempt: Attempt, *, was_idle: bool
    ) -> TransactionDone | None:
        """
        Send the message over a connection, in as many transactions as its server wants for the recipients.

        The last one of them, or None where there was none.
        """
        last: TransactionDone | None = None
        current: ClientConnection | None = connection
        while current is not None:
            before = len(attempt.undecided)
            done = await self._transact(current, delivery, attempt)
            if done is None:
                break
            attempt.answered(done, was_idle=was_idle)
            last, was_idle = done, True
            # It has gone back to the pool, unless it is worn or closed. Where a transaction decided nothing, another
            # one would end the same way.
            goes_on = done.left and len(attempt.undecided) < before
            place = current.place if attempt.choice is not None else None
            current = self._idle_for(delivery.destination, place) if goes_on else None
        return last

    async def _transact(
        self, connection: ClientConnection, delivery: Delivery, attempt: Attempt
    ) -> TransactionDone | None:
        """One transaction for all who are undecided, or None where it came to none: `attempt` knows why."""
        try:
            message = await fitted(
                attempt.envelope, delivery.content, connection.offers, self._eight_bit, connection.host
            )
        except CancelledError:
            connection.abort()
            raise
        except Exception as error:
            reason = f"cannot read the message: {error}"
            attempt.gave_up(Deferral(reason, Phase.CONTENT, Scope.OURSELVES, enhanced="4.3.0"))
            self._give_back(connection)
            return None
        if not isinstance(message, Fitted):
            attempt.refused(message)
            self._give_back(connection)
            return None
        if not connection.is_ready:  # it was lost while we read
            why = f"{connection.host} closed the connection"
            attempt.hindered(Deferral(why, Phase.MAIL, Scope.MESSAGE, connection.host, enhanced="4.4.2"))
            return None
        transaction = Transaction(message.envelope, message.content.size)
        return await connection.transact(transaction, message.content, delivery.mark, early=delivery.alone)

    def _give_back(self, connection: ClientConnection) -> None:
        if connection.is_ready:
            self._pool.give(connection)

"""
All that handles mail in one process: the whole daemon, or one of its workers.

Owns: what is assembled from a configuration, and the change from one configuration to the next.
Never: listens by itself, holds the lock on the state directory, talks to operators.
Fails: with `StartError` before the first connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from zope.interface import implementer

from mta.assembly import Assembly, assemble
from mta.auth.function import FunctionError
from mta.config.schema import Config
from mta.daemon.listening import Front
from mta.daemon.names import Names
from mta.daemon.own_mail import OwnMail
from mta.daemon.starting import StartError
from mta.daemon.storage import Storage
from mta.daemon.tables import table_surroundings
from mta.daemon.tokens import tokens_of
from mta.daemon.web import mail_client, web_client
from mta.delivery.tokens import Tokens
from mta.entry import Entry
from mta.interfaces import IQueue
from mta.message.templates import TemplateError
from mta.policy.counts import Counts, LocalCounts
from mta.surroundings import Surroundings
from mta.tls.pairs import PairError
from mta.tls.server import ServerTls, server_tls
from mta.tls.sts import StsPolicies
from mta.tls.sts_making import policies_of
from mta.tls.tlsrpt_making import TlsReports, tls_reports_of


@dataclass(frozen=True, slots=True, eq=False)
class _Shift:
    """What one configuration made, until the last of it has ended."""

    assembly: Assembly
    names: Names
    tls: ServerTls | None
    sts: StsPolicies | None
    tls_reports: TlsReports | None
    tokens: Tokens

    def start(self) -> None:
        """Begin with what is queued, and with the watch over what others publish."""
        self.names.start()
        if self.sts is not None:
            self.sts.start()
        if self.tls_reports is not None:
            self.tls_reports.start()
        self.assembly.queue.start()

    def retire(self) -> None:
        """Another shift has begun: what goes by the clock is its."""
        if self.tls_reports is not None:
            self.tls_reports.retire()

    def stop_agents(self) -> Deferred[Any]:
        """Close what deliveries use, once there are none."""
        if self.sts is not None:
            self.sts.stop()
        self.tokens.stop()
        self.assembly.close()
        stopped = self.assembly.agent.stop()
        if self.tls_reports is None:
            return stopped
        return DeferredList([stopped, self.tls_reports.stop()], consumeErrors=True)


@implementer(IQueue)
class Work:
    """
    See the module. Listen on each of `fronts` and note the port in `ports`, then `start`; `stop` closes the ports, too.

    Of `workers` processes this is one: they share `counts`, and `others` tells them that more is due than there is room
    for here. Raises `StartError`.
    """

    def __init__(
        self,
        config: Config,
        storage: Storage,
        reactor: Any,
        *,
        counts: Counts | None = None,
        workers: int = 1,
        others: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self.ports: list[IListeningPort] = []
        self._storage = storage
        self._reactor = reactor
        self._counts = counts or LocalCounts()
        self._workers = workers
        self._others = others
        self._retiring: list[_Shift] = []
        self._shift = self._made(config, None)
        self.fronts = {listener.endpoint: Front(factory) for listener, factory in self._shift.assembly.servers}

    @property
    def status(self) -> dict[str, int]:
        """Messages in the window, attempts under way, connections."""
        assemblies = [shift.assembly for shift in self._shifts]
        return {
            "active": sum(assembly.queue.active for assembly in assemblies),
            "deliveries": sum(assembly.queue.running for assembly in assemblies),
            "sessions": sum(factory.sessions for assembly in assemblies for _listener, factory in assembly.servers),
        }

    def start(self) -> None:
        """Begin with what is queued."""
        self._shift.start()

    def _made(self, config: Config, tls_before: ServerTls | None) -> _Shift:
        reactor, storage = self._reactor, self._storage
        try:
            tls = server_tls(config, reactor.seconds, tls_before)
        except PairError as error:
            raise StartError(str(error), os.EX_CONFIG) from error
        names = Names(config.dns, reactor)
        try:
            sts = policies_of(
                config,
                reactor=reactor,
                resolver=names.resolver,
                run_in_thread=storage.run_in_thread,
                note=storage.note,
            )
            tls_reports = tls_reports_of(
                config,
                reactor=reactor,
                resolver=names.resolver,
                sts=sts,
                send_mail=OwnMail(
                    storage.spool, self, hostname=config.hostname, room=storage.room, seconds=reactor.seconds
                ).send_tls_report,
                rng=storage.rng,
                run_in_thread=storage.run_in_thread,
                note=storage.note,
            )
        except (OSError, ValueError) as error:
            raise StartError(f"sts.ca_file: {config.sts.ca_file}: {error}", os.EX_CONFIG) from error
        tokens = tokens_of(config, reactor, names.resolver, storage)
        around = Surroundings(
            reactor=reactor,
            spool=storage.spool,
            resolver=names.resolver,
            rng=storage.rng,
            ids=storage.ids,
            run_in_thread=storage.run_in_thread,
            room=storage.room,
            note=storage.note,
            counts=self._counts,
            workers=self._workers,
            others=self._others,
            tls=tls,
            validates=lambda: names.resolver.trusts_ad,
            sts=sts,
            web=web_client(config, reactor, names.resolver),
            posts=mail_client(config, reactor, names.resolver),
            tls_reports=tls_reports.counts if tls_reports is not None else None,
            tokens=tokens,
            tables=table_surroundings(config, reactor, names.resolver, storage.run_in_thread, storage.note),
        )
        try:
            return _Shift(assemble(config, around), names, tls, sts, tls_reports, tokens)
        except FunctionError as error:
            raise StartError(f"auth.function: {error}", os.EX_CONFIG) from error
        except TemplateError as error:
            raise StartError(f"bounce.templates: {error}", os.EX_CONFIG) from error

    # A new configuration

    def change_to(self, config: Config) -> None:
        """
        Go on with another configuration, on the same ports and the same spool. Raises `StartError`: nothing changed.

        Sessions end with the message that is under way, attempts go on by what they began with; all else is new.
        """
        old = self._shift
        new = self._made(config, old.tls)
        self.config, self._shift = config, new
        self._storage.change_to(config)
        for listener, factory in new.assembly.servers:
            self.fronts[listener.endpoint].behind = factory
        self._retiring.append(old)
        old.retire()
        servers = [factory.stop() for _listener, factory in old.assembly.servers]
        retired = DeferredList([*servers, old.assembly.queue.hand_over(new.assembly.queue)], consumeErrors=True)
        new.start()
        retired.addCallback(lambda _ended: old.stop_agents())
        retired.addCallback(lambda _stopped: self._retired(old))

    def _retired(self, shift: _Shift) -> None:
        if shift in self._retiring:
            self._retiring.remove(shift)
            maybeDeferred(shift.names.stop)

    # The queue of today: IQueue

    def new_id(self) -> int:
        return self._shift.assembly.queue.new_id()

    def wants_claim(self) -> bool:
        return self._shift.assembly.queue.wants_claim()

    def accepted(self, entry: Entry, claimed: bool) -> None:
        self._shift.assembly.queue.accepted(entry, claimed)

    def withdraw(self, pairs: Iterable[tuple[int, str]]) -> None:
        self._shift.assembly.queue.withdraw(pairs)

    def due_changed(self) -> None:
        self._shift.assembly.queue.due_changed()

    def look(self) -> None:
        """Another process has left something in the spool that is due."""
        self._shift.assembly.queue.look()

    # Stop

    async def stop(self, end: float) -> None:
        """
        Close the ports, and let what is under way end, until `end` in seconds since 1970 at most.

        What is not done by then stays in the spool: an attempt that is cut off is made again.
        """
        await DeferredList([maybeDeferred(port.stopListening) for port in self.ports], consumeErrors=True)
        shifts = self._shifts
        servers = [factory for shift in shifts for _listener, factory in shift.assembly.servers]
        queues = [shift.assembly.queue.stop() for shift in shifts]
        await _until(self._reactor, end, [*(server.stop() for server in servers), *queues])
        for server in servers:
            server.abort()
        await _until(self._reactor, end, [shift.stop_agents() for shift in shifts])
        await DeferredList([maybeDeferred(shift.names.stop) for shift in shifts], consumeErrors=True)

    @property
    def _shifts(self) -> list[_Shift]:
        return [*self._retiring, self._shift]


def _until(clock: Any, end: float, waiting: list[Deferred[Any]]) -> Deferred[Any]:
    """Fires when all have, or at `end`, in seconds since 1970."""
    done: Deferred[None] = Deferred()

    def finish(_result: object) -> None:
        if timer.active():
            timer.cancel()
        if not done.called:
            done.callback(None)

    timer: IDelayedCall = clock.callLater(max(0.0, end - clock.seconds()), finish, None)
    DeferredList(waiting, consumeErrors=True).addCallback(finish)
    return done

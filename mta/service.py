"""
The daemon: what `twistd mta` starts and stops.

Owns: the order of starting and stopping, and what a start that can't succeed says.
Never: decides anything about mail.
Fails: with `StartError` before the first connection: one line and an exit code of sysexits(3).
"""

from __future__ import annotations

import os
import pwd
import random
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.admin.control import ControlFactory, Daemon
from mta.admin.listening import ControlSocketError, listen
from mta.assembly import Assembly, Surroundings, assemble, doubt_retry
from mta.config.schema import Config
from mta.dns.cache import Cache
from mta.dns.resolver import Resolver
from mta.dns.servers import system_servers
from mta.ids import QueueIds
from mta.maillog import LogFile, MailLog
from mta.message.templates import TemplateError
from mta.queue.manager import SPREAD
from mta.spool import SpoolError, answering, place, schema, soundness
from mta.spool.ballast import Ballast
from mta.spool.spool import Spool, open_spool

# How often old events are forgotten, in seconds.
PRUNE_INTERVAL = 600.0
# Connections that wait to be accepted; the kernel's net.core.somaxconn (4096) bounds it.
BACKLOG = 1024


class StartError(Exception):
    """The daemon can't start; `code` is the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def reserve(config: Config) -> TextIO:
    """
    Make and lock the state directory, and see that its spool is one that this program can use: the lock.

    Nothing is started: it is called before twistd forks, so that what is wrong is said on the terminal. Raises
    `StartError`.
    """
    try:
        place.make(config.state_dir)
        lock = place.lock(config.state_dir)
    except place.PlaceError as error:
        raise StartError(str(error), error.code) from error
    try:
        Ballast(config.state_dir).clear()  # a start takes room, too
        soundness.examine(config.state_dir / schema.FILE_NAME)
        database = schema.connect(config.state_dir / schema.FILE_NAME)
        try:
            schema.prepare(database, str(config.state_dir / schema.FILE_NAME))
        finally:
            database.close()
    except SpoolError as error:
        lock.close()
        raise StartError(str(error), os.EX_DATAERR) from error
    return lock


class MtaService(Service):
    """
    One process of the MTA.

    `lock` is what `reserve` gave; `log_path` is where the mail log goes, None for the standard output; `reactor` is the
    real one.
    """

    _log = Logger()

    def __init__(self, config: Config, lock: TextIO, log_path: Path | None, reactor: Any) -> None:
        self._config = config
        self._lock = lock
        self._log_path = log_path
        self._reactor = reactor
        self._spool: Spool | None = None
        self._assembly: Assembly | None = None
        self._resolver: Resolver | None = None
        self._log_file: LogFile | None = None
        self._ports: list[IListeningPort] = []
        self._pruning = LoopingCall(self._prune)
        self._pruning.clock = reactor

    # Start

    def startService(self) -> None:
        """Open the spool, then the ports, then the queue. Raises `SystemExit` with one line said where that fails."""
        super().startService()  # type: ignore[no-untyped-call]
        try:
            self._start()
        except StartError as error:
            complain(str(error))
            raise SystemExit(error.code) from error

    def _start(self) -> None:
        config, reactor = self._config, self._reactor
        place.sign(self._lock, os.getpid())
        try:
            self._log_file = LogFile(self._log_path, lambda call: reactor.callLater(0, call), reactor.seconds)
        except OSError as error:
            raise StartError(f"{self._log_path}: cannot write the log: {error.strerror}", os.EX_CANTCREAT) from error
        mail_log = MailLog(self._log_file.write, config.log.format)
        rng = random.Random()
        ballast = Ballast(config.state_dir)
        try:
            spool = open_spool(
                config.state_dir,
                reactor,
                pid=os.getpid(),
                now=reactor.seconds(),
                journal=mail_log.event,
                retry_in=doubt_retry(config, rng),
                ballast=ballast,
                longest_wait=_longest_wait(config),
            )
        except SpoolError as error:
            raise StartError(str(error), os.EX_DATAERR) from error
        self._spool = spool
        ballast.take()  # where there is no room, no mail is taken until there is
        self._resolver = Resolver(
            reactor=reactor,
            servers=config.dns.servers or system_servers(),
            timeout=config.dns.timeout,
            attempts=config.dns.attempts,
            rng=random.SystemRandom(),  # query ids must not be guessed (RFC 5452 9.2)
            cache=Cache(reactor, config.dns.cache_size),
            negative_ttl=config.dns.negative_ttl,
        )

        def note(kind: str, fields: Mapping[str, str]) -> None:
            mail_log.note(reactor.seconds(), kind, fields)

        room = place.Room(
            config.state_dir / schema.FILE_NAME,
            config.limits.free_space_percent,
            config.limits.message_size,
            reactor.seconds,
            ballast,
        )
        around = Surroundings(
            reactor=reactor,
            spool=spool,
            resolver=self._resolver,
            rng=rng,
            ids=QueueIds(above=spool.largest_id),
            run_in_thread=partial(deferToThreadPool, reactor, reactor.getThreadPool()),
            room=lambda: not spool.damage() and room(),
            note=note,
        )
        try:
            self._assembly = assemble(config, around)
        except TemplateError as error:
            raise StartError(f"bounce.templates: {error}", os.EX_CONFIG) from error
        self._open_ports(self._assembly)
        self._open_control(self._assembly, around)
        self._assembly.queue.start()
        # The default is to die on the spot, and many an operator sends it to make a daemon read its configuration.
        signal.signal(signal.SIGHUP, self._hung_up)
        self._pruning.start(PRUNE_INTERVAL, now=False)
        self._log.info("ready as {hostname}", hostname=config.hostname)

    def _hung_up(self, _number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._log.warn, "SIGHUP changes nothing: restart to read the configuration again")

    def _open_ports(self, assembly: Assembly) -> None:
        for listener, factory in assembly.servers:
            try:
                endpoint = serverFromString(self._reactor, _with_backlog(listener.endpoint))
            except Exception as error:  # of a plugin, of OpenSSL, of the missing file: whatever reads the text raises
                raise StartError(
                    f"listener {listener.name!r}: {listener.endpoint} is no endpoint that can be used: {error}",
                    os.EX_CONFIG,
                ) from error
            opened: Deferred[IListeningPort] = endpoint.listen(factory)
            found: list[IListeningPort | Failure] = []
            opened.addBoth(found.append)
            (port,) = found or [Failure(RuntimeError("it does not open at once"))]
            if isinstance(port, Failure):
                reason = port.value.socketError if isinstance(port.value, CannotListenError) else port.value
                raise StartError(
                    f"listener {listener.name!r}: cannot listen on {listener.endpoint}: {reason}", os.EX_UNAVAILABLE
                )
            self._ports.append(port)

    def _open_control(self, assembly: Assembly, around: Surroundings) -> None:
        config = self._config
        path = config.state_dir / schema.FILE_NAME
        daemon = Daemon(
            spool=around.spool,
            queue=assembly.queue,
            read=partial(answering.pages, path),
            read_commands=frozenset(answering.READING),
            run_in_thread=around.run_in_thread,
            clock=self._reactor,
            hostname=config.hostname,
            message_size=config.limits.message_size,
            storage_room=around.room,
            user_name=_user_name,
            status=lambda: around.run_in_thread(answering.count_in_doubt, path).addCallback(self._status, assembly),
        )
        try:
            port = listen(self._reactor, config.control_path, config.control.mode, ControlFactory(daemon))
        except ControlSocketError as error:
            raise StartError(str(error), os.EX_UNAVAILABLE) from error
        self._ports.append(port)

    def _status(self, in_doubt: int, assembly: Assembly) -> dict[str, object]:
        return {
            "pid": os.getpid(),
            "hostname": self._config.hostname,
            "active": assembly.queue.active,
            "deliveries": assembly.queue.running,
            "in_doubt": in_doubt,
            "sessions": sum(factory.sessions for _listener, factory in assembly.servers),
        }

    def _prune(self) -> Deferred[None]:
        assert self._spool is not None
        pruned = self._spool.prune(self._reactor.seconds() - self._config.queue.events_keep)
        pruned.addErrback(lambda fault: self._log.error("old events stay: {why}", why=fault.value))
        return pruned.addCallback(lambda _count: None)

    # Stop

    def stopService(self) -> Deferred[None]:
        """
        Take no new mail, let what is under way end within the grace time, then close.

        What is not done by then stays in the spool: an attempt that is cut off is made again.
        """
        maybeDeferred(super().stopService)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._pruning.running:
            self._pruning.stop()
        end = self._reactor.seconds() + self._config.shutdown_grace
        await DeferredList([maybeDeferred(port.stopListening) for port in self._ports], consumeErrors=True)
        assembly = self._assembly
        if assembly is not None:
            servers = [factory for _listener, factory in assembly.servers]
            await self._until(end, [*(server.stop() for server in servers), assembly.queue.stop()])
            for server in servers:
                server.abort()
            await self._until(end, [assembly.agent.stop()])
        if self._spool is not None:
            await self._spool.close()
        if self._resolver is not None:
            await maybeDeferred(self._resolver.stop)
        if self._log_file is not None:
            self._log_file.close()
        self._lock.close()

    def _until(self, end: float, waiting: list[Deferred[None]]) -> Deferred[Any]:
        """Fires when all have, or at `end`, in seconds since 1970."""
        done: Deferred[None] = Deferred()

        def finish(_result: object) -> None:
            if timer.active():
                timer.cancel()
            if not done.called:
                done.callback(None)

        timer: IDelayedCall = self._reactor.callLater(max(0.0, end - self._reactor.seconds()), finish, None)
        DeferredList(waiting, consumeErrors=True).addCallback(finish)
        return done


def complain(text: str) -> None:
    """Say one line on the terminal, past twistd's own log."""
    print(f"mta: {text}", file=sys.__stderr__, flush=True)


def _with_backlog(endpoint: str) -> str:
    """
    The endpoint with our length of the queue of connections that the kernel holds for us.

    Twisted's is 50: of 2,000 clients that come at once most would wait for the second SYN.
    """
    takes_one = endpoint.startswith(("tcp:", "tcp6:", "ssl:")) and ":backlog=" not in endpoint
    return f"{endpoint}:backlog={BACKLOG}" if takes_one else endpoint


def _longest_wait(config: Config) -> float:
    """The longest that anything in the queue waits for its next turn, in seconds."""
    queue = config.queue
    return max(max(queue.retry) * (1 + queue.jitter), queue.dead_maximum * (1 + SPREAD))


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"

"""
The control socket of the daemon, whatever it is made of.

Owns: which parts of the daemon a request gets to, and the words of the status command that all daemons have.
Never: knows how many processes there are.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mta.admin.changing import told
from mta.admin.control import ControlFactory, Daemon
from mta.admin.listening import ControlSocketError, listen
from mta.config.schema import Config
from mta.daemon.starting import StartError
from mta.daemon.storage import Storage
from mta.interfaces import IQueue
from mta.order import KEPT, Done
from mta.routing.naming import route_names
from mta.spool import answering, schema
from mta.tls.configured import files
from mta.tls.expiry import ExpiryWatch

# How often old events are forgotten, in seconds.
PRUNE_INTERVAL = 600.0

Row = dict[str, object]


class Operators:
    """
    The control socket, and what is done for operators without being asked: old events go, and certificates that
    end soon are told.

    `storage` and `queue` are what requests get to, `status` gives the words of the status command that are not here;
    `rules_changed` tells other processes of it.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        storage: Storage,
        queue: IQueue,
        status: Callable[[], Deferred[Row]],
        reactor: Any,
        rules_changed: Callable[[], Deferred[Any]] = lambda: succeed(None),
    ) -> None:
        self._rules_changed = rules_changed
        self._config = config
        self._storage = storage
        self._queue = queue
        self._told_status = status
        self._reactor = reactor
        self._factory = ControlFactory(self._daemon())
        self._port: IListeningPort | None = None
        self._pruning = LoopingCall(self._prune)
        self._pruning.clock = reactor
        self._expiry = ExpiryWatch(files(config), clock=reactor, run_in_thread=storage.run_in_thread, note=storage.note)

    def open(self) -> None:
        """Open the socket. Raises `StartError`."""
        config = self._config
        try:
            self._port = listen(self._reactor, config.control_path, config.control.mode, self._factory)
        except ControlSocketError as error:
            raise StartError(str(error), os.EX_UNAVAILABLE) from error
        self._pruning.start(PRUNE_INTERVAL, now=False)
        self._expiry.start()
        resumed = self._storage.spool.surgery.resume(route_names(self._config))
        resumed.addCallback(self._tell)
        resumed.addErrback(lambda fault: self._log.error("an operation is not finished: {why}", why=fault.value))

    def _tell(self, resumed: list[Done]) -> None:
        for done in resumed:
            told(done, self._queue)

    def change_to(self, config: Config) -> None:
        """Go on with another configuration."""
        self._config = config
        self._factory.serve(self._daemon())
        self._expiry.change_to(files(config))

    async def close(self) -> None:
        """Take no more requests, prune no more."""
        if self._pruning.running:
            self._pruning.stop()
        self._expiry.stop()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)

    def _daemon(self) -> Daemon:
        config, storage = self._config, self._storage
        return Daemon(
            spool=storage.spool,
            surgery=storage.spool.surgery,
            routes=lambda: route_names(self._config),
            rules_changed=self._rules_changed,
            queue=self._queue,
            read=self._read,
            read_commands=frozenset(answering.READING),
            run_in_thread=storage.run_in_thread,
            clock=self._reactor,
            hostname=config.hostname,
            message_size=config.limits.message_size,
            storage_room=storage.room,
            user_name=_user_name,
            status=lambda: Deferred.fromCoroutine(self._status()),
        )

    def _read(self, command: str, words: Mapping[str, object]) -> Generator[list[Row], None, None]:
        return answering.pages(self._path, command, words, self._reactor.seconds(), route_names(self._config))

    @property
    def _path(self) -> Path:
        return self._config.state_dir / schema.FILE_NAME

    async def _status(self) -> Row:
        in_doubt = await self._storage.run_in_thread(answering.count_in_doubt, self._path)
        told = await self._told_status()
        certificates = await self._expiry.figures()
        us: Row = {"pid": os.getpid(), "hostname": self._config.hostname}
        return {**us, **told, "in_doubt": in_doubt, "certificates": certificates}

    def _prune(self) -> Deferred[None]:
        pruned = self._storage.spool.prune(self._reactor.seconds() - self._config.queue.events_keep)
        pruned.addCallback(lambda _count: self._storage.spool.surgery.expire(self._reactor.seconds() - KEPT))
        pruned.addErrback(lambda fault: self._log.error("old events stay: {why}", why=fault.value))
        return pruned.addCallback(lambda _ended: None)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"

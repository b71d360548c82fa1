"""
The daemon in one process: what `twistd mta` starts and stops where there is a single worker.

Owns: the order of starting and stopping, and reading the configuration again.
Never: decides anything about mail.
Fails: with `StartError` before the first connection: one line and an exit code of sysexits(3).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger

from mta.config import agents, changing
from mta.config.loading import ConfigError
from mta.config.schema import Config
from mta.daemon.descriptors import raise_limit, shortage
from mta.daemon.listening import listen
from mta.daemon.operators import Operators, Row
from mta.daemon.publishing import Publishing
from mta.daemon.starting import StartError, complain
from mta.daemon.storage import Storage
from mta.daemon.work import Work
from mta.spool import place


class DaemonService(Service):
    """
    What both daemons have in common: they start or say why not, and read their configuration again at SIGHUP.

    `lock` is what `reserve` gave; `log_path` is where the mail log goes, None for the standard output; `read` reads the
    configuration; `reactor` is the real one.
    """

    _log = Logger()

    def __init__(
        self, config: Config, lock: TextIO, log_path: Path | None, read: Callable[[], Config], reactor: Any
    ) -> None:
        self.config = config
        self._lock = lock
        self._log_path = log_path
        self._read = read
        self._reactor = reactor

    def startService(self) -> None:
        """Start all. Raises `SystemExit` with one line said where that fails."""
        super().startService()  # type: ignore[no-untyped-call]
        place.sign(self._lock, os.getpid())
        short = shortage(self.config, raise_limit())
        if short:
            self._log.warn("{short}", short=short)
        self._warn()
        try:
            self._start()
        except StartError as error:
            complain(str(error))
            raise SystemExit(error.code) from error
        # The default is to die on the spot.
        signal.signal(signal.SIGHUP, lambda _number, _frame: self._reactor.callFromThread(self._reload))

    def stopService(self) -> Deferred[None]:
        """Take no new mail, let what is under way end within the grace time, then close."""
        maybeDeferred(super().stopService)
        return Deferred.fromCoroutine(self._stop(self._reactor.seconds() + self.config.shutdown_grace))

    def _reload(self) -> None:
        """Read the configuration again, and go on with it where it can be used."""
        try:
            config, notes = changing.take(self.config, self._read())
            self._change_to(config)
        except ConfigError as error:
            self._log.error("the configuration is as it was, the new one can't be used: {why}", why=str(error))
            return
        except StartError as error:
            self._log.error("the configuration is as it was, the new one can't be used: {why}", why=error)
            return
        for note in notes:
            self._log.warn("{note}", note=note)
        self._log.info("the configuration was read again")
        self._warn()

    def _warn(self) -> None:
        for warning in agents.warnings(self.config):
            self._log.warn("{warning}", warning=warning)

    def _start(self) -> None:
        raise NotImplementedError

    def _change_to(self, config: Config) -> None:
        raise NotImplementedError

    async def _stop(self, end: float) -> None:
        raise NotImplementedError


class MtaService(DaemonService):
    """The daemon in one process."""

    _storage: Storage | None = None
    _work: Work | None = None
    _operators: Operators | None = None
    _publishing: Publishing | None = None

    def _start(self) -> None:
        storage = self._storage = Storage(self.config, self._log_path, self._reactor)
        work = self._work = Work(self.config, storage, self._reactor)
        for listener in self.config.listeners:
            work.ports.append(listen(self._reactor, listener, work.fronts[listener.endpoint]))
        self._publishing = Publishing(self.config, self._reactor)
        self._operators = Operators(self.config, storage, work, self._status, self._reactor)
        self._operators.open()
        work.start()
        self._log.info("ready as {hostname}", hostname=self.config.hostname)

    def _status(self) -> Deferred[Row]:
        assert self._work is not None
        return succeed(dict(self._work.status))

    def _change_to(self, config: Config) -> None:
        assert self._work is not None
        assert self._operators is not None
        assert self._publishing is not None
        self._publishing.change_to(config)
        self._work.change_to(config)
        self.config = config
        self._operators.change_to(config)

    async def _stop(self, end: float) -> None:
        if self._operators is not None:
            await self._operators.close()
        if self._publishing is not None:
            await self._publishing.close()
        if self._work is not None:
            await self._work.stop(end)
        if self._storage is not None:
            await self._storage.close()
        self._lock.close()

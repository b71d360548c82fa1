"""
Make one connection, or say why there is none.

Owns: what a connection that did not come about is called.
Never: knows what is said over it (`connection.py` does).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, TimeoutError
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from mta.delivery.connection import ClientConnection, Opened, exception_in
from mta.outcome import Deferral, Phase, Scope

# We are out of something, or our own address is not there: that says nothing about the host.
_OUR_FAULT = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EADDRINUSE))


class ConnectionFactory(ClientFactory):
    """Makes one connection. `make` gets `opened`, which fires as `ClientConnection` says, or with why there is none."""

    noisy = False

    def __init__(self, host: str, make: Callable[[Opened], ClientConnection]) -> None:
        self.opened: Opened = Deferred(lambda _: self._cancel())
        self._host = host
        self._make = make
        self._connector: IConnector | None = None
        self._connection: ClientConnection | None = None
        self._cancelled = False

    def startedConnecting(self, connector: IConnector) -> None:
        self._connector = connector

    def buildProtocol(self, _addr: IAddress | None) -> ClientConnection:
        self._connection = self._make(self.opened)
        return self._connection

    def clientConnectionFailed(self, _connector: IConnector, reason: Failure) -> None:
        if not self._cancelled:
            self.opened.callback(judge_connect_error(exception_in(reason), self._host))

    def _cancel(self) -> None:
        self._cancelled = True
        if self._connection is not None:
            self._connection.abort()
        elif self._connector is not None:
            self._connector.stopConnecting()


def judge_connect_error(error: BaseException, host: str) -> Deferral:
    """The outcome of a connection to `host` that did not come about."""
    number = error.osError if isinstance(error, ConnectError) else None
    if isinstance(error, TimeoutError):
        words = "it does not answer"
    elif isinstance(number, int):
        words = os.strerror(number)
    else:
        words = str(error)
    scope = Scope.OURSELVES if number in _OUR_FAULT else Scope.SITE
    return Deferral(f"cannot connect to {host}: {words}", Phase.CONNECT, scope, host, enhanced="4.4.1")

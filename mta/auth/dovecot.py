"""
The checker that asks Dovecot, through the socket of its auth service (its auth-client protocol, version 1).

Owns: the connection, which is made when it is first needed, and the requests on it.
Never: handles a mechanism: it tells Dovecot a password, as PLAIN. Dovecot hides by itself who exists.
Fails: its Deferreds with `UnauthorizedLogin` for wrong credentials, with `DovecotError` where it can't be said.
"""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import ClientFactory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.auth.credentials import Password
from mta.identity import Identity

# Octets: Dovecot's own limit of a line is 8192.
_LONGEST = 8192
_CONNECT_TIMEOUT = 5
# An id is a number of 32 bits, and new on each connection.
_LARGEST_ID = 2**31 - 1


class DovecotError(Exception):
    """Dovecot did not answer."""


class _Connection(LineOnlyReceiver):
    """One connection: requests go out once both sides have told their versions."""

    delimiter = b"\n"
    MAX_LENGTH = _LONGEST

    def __init__(self) -> None:
        self.ready = False
        self.lost = False
        self._last = 0
        self._waiting: dict[int, Deferred[Identity]] = {}
        self._early: list[bytes] = []

    def connectionMade(self) -> None:
        self._write(b"VERSION\t1\t1\nCPID\t%d\n" % os.getpid())

    def _write(self, octets: bytes) -> None:
        assert self.transport is not None
        self.transport.write(octets)

    def _close(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def ask(self, credentials: Password) -> Deferred[Identity]:
        """Fires with who the user is."""
        self._last = self._last % _LARGEST_ID + 1
        number = self._last
        told = f"\0{credentials.username}\0{credentials.password}".encode()
        # "secured": that a password may be told here was our decision, made before it was.
        words = [f"AUTH\t{number}\tPLAIN\tservice=smtp", "secured"]
        if credentials.client and "\t" not in credentials.client:
            words.append(f"rip={credentials.client}")
        line = "\t".join([*words, f"resp={b64encode(told).decode('ascii')}"]).encode() + b"\n"  # resp comes last

        def forget(_asked: object) -> None:
            self._waiting.pop(number, None)

        answered: Deferred[Identity] = Deferred(forget)
        self._waiting[number] = answered
        if self.ready:
            self._write(line)
        else:
            self._early.append(line)
        return answered

    def lineReceived(self, line: bytes) -> None:
        word, *fields = line.decode("utf-8", "replace").split("\t")
        if word == "VERSION" and fields[:1] != ["1"]:
            self._close()
        elif word == "DONE":
            self.ready = True
            self._write(b"".join(self._early))
            self._early.clear()
        elif word in ("OK", "FAIL") and fields and fields[0].isdigit():
            self._answered(word == "OK", int(fields[0]), fields[1:])

    def _answered(self, granted: bool, number: int, fields: list[str]) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        told = dict(field.partition("=")[::2] for field in fields)
        if granted and told.get("user"):
            waiting.callback(Identity(told["user"]))
        elif "temp" in told:
            waiting.errback(DovecotError("Dovecot can't say now"))
        else:
            waiting.errback(UnauthorizedLogin("disabled user" if "user_disabled" in told else "refused by Dovecot"))

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002
        self._close()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = True
        waiting, self._waiting = self._waiting, {}
        why = reason.getErrorMessage() if reason is not None else ""
        for each in waiting.values():
            each.errback(DovecotError(f"the connection to Dovecot was lost: {why}"))


class _Connecting(ClientFactory):
    """Makes the one connection; where that fails, all who wait hear of it."""

    noisy = False

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: object) -> _Connection:  # noqa: ARG002
        return self._connection

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:  # noqa: ARG002
        self._connection.connectionLost(reason)


@implementer(ICredentialsChecker)
class DovecotUsers:
    """The users of the Dovecot behind a UNIX socket."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, socket: Path, reactor: Any) -> None:
        self._socket = socket
        self._reactor = reactor
        self._connection: _Connection | None = None

    def requestAvatarId(self, credentials: Password) -> Deferred[Any]:
        """The identity of the user, as Dovecot spells it."""
        if any("\0" in text for text in (credentials.username, credentials.password)):
            return fail(UnauthorizedLogin("a NUL in the name or the password"))
        if self._connection is None or self._connection.lost:
            self._connection = _Connection()
            self._reactor.connectUNIX(str(self._socket), _Connecting(self._connection), timeout=_CONNECT_TIMEOUT)
        return self._connection.ask(credentials)

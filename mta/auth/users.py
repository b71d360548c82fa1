"""
The checker of the file of users.

Owns: reading the file again when it has changed, hashing in threads, and that nobody learns from the time it takes, or
from the salt, whether a user exists.
Never: writes the file (`mta user` does).
Fails: its Deferreds with `UnauthorizedLogin` for wrong credentials, with another exception where it can't be said.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, DeferredSemaphore, fail, succeed
from zope.interface import implementer

from mta.auth import passwords, userfile
from mta.auth.credentials import IScramKeys, IScramProof, Password, ScramProof
from mta.auth.passwords import ITERATIONS, ScramKeys
from mta.auth.userfile import User
from mta.identity import Identity

# Each hash takes 19 MiB and a core for some 30 ms.
THREADS = 2
# Who comes behind so many others would wait for a second; there are not so many honest ones.
WAITING = 64


class TooBusy(Exception):  # noqa: N818
    """More wait for a hash than can be served soon."""


@implementer(ICredentialsChecker, IScramKeys)
class UserFile:
    """`run_in_thread` runs what takes long; its Deferred fires with what came of it."""

    credentialInterfaces = (IUsernamePassword, IScramProof)

    def __init__(self, path: Path, run_in_thread: Callable[..., Deferred[Any]]) -> None:
        self._path = path
        self._run = run_in_thread
        self._threads = DeferredSemaphore(THREADS)
        self._seen: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}
        # A hash as all others, of a password that nobody has: an unknown user costs the same time.
        self._dummy = passwords.hashed(os.urandom(16).hex())
        self._secret = hmac.digest(_salt_secret(path), b"salts of nobody", "sha256")

    def requestAvatarId(self, credentials: Password | ScramProof) -> Deferred[Any]:
        """The identity of the user; `mta.auth.portal.Realm` takes it as it is."""
        try:
            user = self._find(credentials.username)
        except userfile.UserFileError as error:
            return fail(error)
        if isinstance(credentials, ScramProof):
            known = user is not None and user.scram is not None and credentials.proves(user.scram)
            return self._judged(known, user)
        if len(self._threads.waiting) >= WAITING:
            return fail(TooBusy("too many logins at once"))
        kept = self._dummy if user is None else user.password
        checked: Deferred[bool] = self._threads.run(self._run, passwords.matches, kept, credentials.password)
        return checked.addCallback(self._judged, user)

    def known(self, name: str) -> Identity:
        """What is known of a user who logged in without a password; nothing but the name for one who is not here."""
        user = self._find(name)
        if user is None:
            return Identity(name)
        if not user.enabled:
            raise UnauthorizedLogin("disabled user")
        return Identity(user.name, frozenset(user.senders))

    def scram_keys(self, username: str) -> Deferred[ScramKeys]:
        """As `IScramKeys` says."""
        try:
            user = self._find(username)
        except userfile.UserFileError as error:
            return fail(error)
        if user is not None and user.scram is not None:
            return succeed(user.scram)
        # RFC 5802 9: a salt that changes, or is missing, would tell that there is no such user.
        salt = hmac.digest(self._secret, username.encode(), "sha256")[:16]
        return succeed(ScramKeys(salt, ITERATIONS, bytes(32), bytes(32)))

    def _judged(self, known: bool, user: User | None) -> Deferred[Identity]:
        if user is None:
            return fail(UnauthorizedLogin("unknown user"))
        if not known:
            return fail(UnauthorizedLogin("wrong password"))
        if not user.enabled:
            return fail(UnauthorizedLogin("disabled user"))
        return succeed(Identity(user.name, frozenset(user.senders)))

    def _find(self, username: str) -> User | None:
        """The user of a name, as the file has it now. Raises `UserFileError`."""
        try:
            there = self._path.stat()
            seen = there.st_ino, there.st_mtime_ns, there.st_size
        except FileNotFoundError:
            seen = None
        if seen != self._seen:
            self._users = userfile.read(self._path)
            self._seen = seen
        try:
            return self._users.get(userfile.name_of(username))
        except ValueError:
            return None


def _salt_secret(path: Path) -> bytes:
    """A secret that all workers share and no client knows: the file's first hash, or nothing while nobody is in it."""
    try:
        return next((user.password.encode() for user in userfile.read(path).values()), os.urandom(32))
    except userfile.UserFileError:
        return os.urandom(32)

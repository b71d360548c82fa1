"""
The checker that asks a function of the operator's: ``module:function``.

Owns: finding it, and what its answers mean.
Never: keeps it from blocking: it runs in the reactor's thread, and returns a Deferred or a coroutine where it waits.
Fails: its Deferreds with `UnauthorizedLogin` for wrong credentials, with what the function raised where it did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from inspect import iscoroutine
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from mta.auth.credentials import Password
from mta.identity import Identity


class FunctionError(Exception):
    """There is no such function."""


def found(text: str) -> Callable[..., Any]:
    """The function that ``module:function`` names. Raises `FunctionError`."""
    module, _, name = text.partition(":")
    try:
        function = getattr(import_module(module), name)
    except Exception as error:  # a module may raise anything while it is imported
        raise FunctionError(f"{text}: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise FunctionError(f"{text} is no function")
    return function  # type: ignore[no-any-return]


@implementer(ICredentialsChecker)
class FunctionUsers:
    """
    Calls ``function(user, password, client)``, `client` being the address.

    It answers False or None for no; True, or the addresses that the user sends as, for yes.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def requestAvatarId(self, credentials: Password) -> Deferred[Any]:
        """The identity of the user."""

        def ask() -> Any:
            answer = self._function(credentials.username, credentials.password, credentials.client)
            return Deferred.fromCoroutine(answer) if iscoroutine(answer) else answer

        return maybeDeferred(ask).addCallback(self._judged, credentials.username)

    def _judged(self, answer: bool | Iterable[str] | None, user: str) -> Identity:
        if answer is None or answer is False:
            raise UnauthorizedLogin("refused by the function")
        return Identity(user, frozenset() if answer is True else frozenset(answer))

"""
The portal (twisted.cred) that clients of SMTP log in to, and the conversations that lead there.

Owns: the realm, the mechanisms that the checkers allow, which failure is whose.
Never: knows how a checker knows its users; speaks SMTP.
Fails: never: a Deferred of this file fires with a `mta.identity.Step`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from mta.auth.bearer import Bearer, bearer_refusal, oauthbearer, xoauth2, xoauth2_refusal
from mta.auth.credentials import BearerToken, IBearerToken, IScramKeys, IScramProof, NotNow, Password, ScramProof
from mta.auth.plain import LoginMechanism, Plain
from mta.auth.scram import Scram
from mta.identity import Granted, Identity, Refused, Step, Unavailable
from mta.interfaces import IAuthentication, IConversation

PLUS, SCRAM, PLAIN, LOGIN = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"
OAUTHBEARER, XOAUTH2 = "OAUTHBEARER", "XOAUTH2"
# What each needs of a checker, best first: a client takes the first that it knows (RFC 4954 4 has no order, people do).
NEEDS: Mapping[str, type[Interface]] = {
    PLUS: IScramProof,
    SCRAM: IScramProof,
    OAUTHBEARER: IBearerToken,
    XOAUTH2: IBearerToken,
    PLAIN: IUsernamePassword,
    LOGIN: IUsernamePassword,
}
_NONCE = 18


class ISubmitter(Interface):
    """What a client logs in as: `mta.identity.Identity`."""


@implementer(IRealm)
class Realm:
    """Checkers tell identities; the realm adds what the configuration lets each of them send as."""

    def __init__(self, senders: Mapping[str, Iterable[str]]) -> None:
        self._senders = {user: frozenset(addresses) for user, addresses in senders.items()}

    def requestAvatar(
        self,
        avatarId: Any,
        mind: object,  # noqa: ARG002
        *interfaces: type[Interface],
    ) -> tuple[type[Interface], Identity, Callable[[], None]]:
        if ISubmitter not in interfaces:
            raise NotImplementedError("clients of SMTP alone")
        senders = avatarId.senders | self._senders.get(avatarId.user, frozenset())
        return ISubmitter, Identity(avatarId.user, senders), lambda: None


@implementer(IAuthentication)
class Authentication:
    """
    `mechanisms` are those wanted, of which only what `checker` and `tokens` are able to do is offered.

    `checker` is None where nobody logs in by a password, `tokens` where nobody does by a token. `senders` are by user;
    `nonce` makes the server's part of a nonce.
    """

    _log = Logger()

    def __init__(
        self,
        checker: Any,
        *,
        mechanisms: Iterable[str],
        senders: Mapping[str, Iterable[str]],
        tokens: Any = None,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(_NONCE),
    ) -> None:
        checkers = [each for each in (checker, tokens) if each is not None]
        self._portal = Portal(Realm(senders), [ICredentialsChecker(each) for each in checkers])
        self._keys = IScramKeys(checker, None)
        self._tokens = tokens
        self._nonce = nonce
        wanted, able = frozenset(mechanisms), {what for each in checkers for what in each.credentialInterfaces}
        self.mechanisms = tuple(name for name, needed in NEEDS.items() if name in wanted and needed in able)

    def begin(self, mechanism: str, client: str, binding: bytes | None) -> IConversation:
        """As `IAuthentication` says."""
        conversation: Any
        if mechanism == PLAIN:
            conversation = Plain(self._login, client)
        elif mechanism == LOGIN:
            conversation = LoginMechanism(self._login, client)
        elif mechanism == OAUTHBEARER:
            refusal = bearer_refusal(self._tokens.scope, self._tokens.openid_configuration)
            conversation = Bearer(oauthbearer, self._login, refusal)
        elif mechanism == XOAUTH2:
            conversation = Bearer(xoauth2, self._login, xoauth2_refusal(self._tokens.scope))
        else:
            offered = binding is not None and PLUS in self.mechanisms
            plus = mechanism == PLUS
            conversation = Scram(
                self._keys.scram_keys, self._login, self._nonce(), plus=plus, binding=binding, offered=offered
            )
        return _Guarded(conversation, self._failed)

    def _login(self, credentials: Password | ScramProof | BearerToken) -> Deferred[Step]:
        asked: Deferred[Any] = self._portal.login(credentials, None, ISubmitter)
        return asked.addCallbacks(lambda avatar: Granted(avatar[1]), self._failed, errbackArgs=(credentials.username,))

    def _failed(self, failure: Failure, user: str = "") -> Step:
        if failure.check(UnauthorizedLogin):
            return Refused(str(failure.value) or "refused", user, getattr(failure.value, "status", ""))
        if failure.check(NotNow):
            return Unavailable(str(failure.value))
        if failure.check(CancelledError):  # by whoever asked: it has taken too long
            return Unavailable("no answer in time")
        # Its text may be whatever a checker saw; the type and the place are enough, and passwords stay out.
        self._log.failure("the users can't be asked", failure=failure)
        return Unavailable(f"{type(failure.value).__name__}: {failure.value}")


@implementer(IConversation)
class _Guarded:
    """A conversation whose every answer is a Deferred that does not fail."""

    def __init__(self, conversation: Any, failed: Callable[[Failure], Step]) -> None:
        self._conversation = conversation
        self._failed = failed

    def start(self) -> Deferred[Step]:
        return Deferred.fromCoroutine(self._answer(None))

    def respond(self, data: bytes) -> Deferred[Step]:
        return Deferred.fromCoroutine(self._answer(data))

    async def _answer(self, data: bytes | None) -> Step:
        try:
            step = self._conversation.start() if data is None else self._conversation.respond(data)
            return await step if isinstance(step, Deferred) else step  # type: ignore[no-any-return]
        except Exception:
            return self._failed(Failure())

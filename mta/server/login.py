"""
The attempts of one connection to log in.

Owns: which conversation is under way, the time that it may take, what failures cost, the log lines ``auth-failed`` and
``auth-blocked``, and ``auth-ok``.
Never: knows a mechanism (`mta/auth/`), or the lines of AUTH (`mta/smtp/authenticating.py`).
Fails: never: its Deferreds fire with a step.

``auth-failed`` is what fail2ban reads: its kind and its field `client` stay as they are (docs/authentication.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from mta.identity import Challenge, Granted, Malformed, Refused, Step, Unavailable
from mta.interfaces import IConversation
from mta.server.listener import Listener
from mta.smtp.questions import Authenticate, Respond
from mta.smtp.server import ServerSession

# RFC 9266 2
_BINDING_LABEL, _BINDING_LENGTH = b"EXPORTER-Channel-Binding", 32
# RFC 9266 3: below TLS 1.3 the value is unique with the extended master secret alone, which can't be asked for here.
_BINDING_VERSION = "TLSv1.3"


class Login:
    """
    The attempts on one connection, from `client`; who is `trusted` is not blocked.

    `more` is what the log lines tell of the connection besides.
    """

    def __init__(self, listener: Listener, client: str, trusted: bool, more: Mapping[str, str]) -> None:
        self._listener = listener
        self._client = client
        self._trusted = trusted
        self._more = more
        self._failures = 0
        self._mechanism = ""
        self._conversation: IConversation | None = None
        self._told: Refused | None = None

    def step(self, question: Authenticate | Respond, session: ServerSession) -> Deferred[Step]:
        """What follows from the client's word."""
        return Deferred.fromCoroutine(self._step(question, session))

    async def _step(self, question: Authenticate | Respond, session: ServerSession) -> Step:
        listener, now = self._listener, self._listener.clock.seconds()
        if isinstance(question, Authenticate):
            self._mechanism = question.mechanism
            if not self._trusted and listener.submitters.is_blocked(self._client, now):
                self._note("auth-blocked", session, reason="auth.failures")
                return Unavailable("auth.failures")
            assert listener.authentication is not None
            self._conversation = listener.authentication.begin(question.mechanism, self._client, session.binding)
            response = question.initial
        else:
            response = question.data
        assert self._conversation is not None
        asked = self._conversation.start() if response is None else self._conversation.respond(response)
        asked.addTimeout(listener.limits.policy_timeout, listener.clock)
        try:
            step = await asked
        except Exception as error:  # a time-out, since a conversation does not fail
            step = Unavailable(type(error).__name__)
        if not isinstance(step, Challenge):
            self._conversation = None
        return await self._weighed(step, session)

    async def _weighed(self, step: Step, session: ServerSession) -> Step:
        """A failure is counted and told, and costs time: once, though the client may be told why before it ends."""
        if isinstance(step, Granted):
            self._note("auth-ok", session, user=step.identity.user)
        elif isinstance(step, Unavailable):
            self._note("auth-failed-temporarily", session, reason=step.reason)
        elif isinstance(step, Refused | Malformed):
            if step is not self._told:
                await self._failed(step, session)
        elif step.refused is not None:
            # Now, and not at the end: nobody escapes by going away, or by "*", instead of the last response.
            self._told = step.refused
            await self._failed(step.refused, session)
        return step

    async def _failed(self, step: Refused | Malformed, session: ServerSession) -> None:
        listener = self._listener
        self._failures += 1
        user = step.user if isinstance(step, Refused) else ""
        self._note("auth-failed", session, user=user, reason=step.reason)
        if not self._trusted:
            listener.submitters.failed(self._client, listener.clock.seconds())
        if delay := listener.submitters.delay(self._failures):
            await deferLater(listener.clock, delay)

    def _note(self, kind: str, session: ServerSession, **fields: str) -> None:
        listener = self._listener
        where = {"listener": listener.name, "client": self._client, "helo": session.helo}
        listener.log(kind, {**where, "mechanism": self._mechanism, **fields, **self._more})


def channel_binding(transport: Any) -> bytes | None:
    """What both ends of a TLS connection know and nobody else does: tls-exporter (RFC 9266); None where it is not."""
    connection: Any = getattr(transport, "getHandle", lambda: None)()
    version = getattr(connection, "get_protocol_version_name", lambda: "")()
    if version != _BINDING_VERSION:
        return None
    exported: bytes = connection.export_keying_material(_BINDING_LABEL, _BINDING_LENGTH, b"")
    return exported

"""
AUTH in a session of the server (RFC 4954).

Owns: when AUTH may be said, the lines of the exchange and their base64, who the client is since.
Never: knows a mechanism: it hands octets over (`Authenticate`, `Respond`) and is told the next step.
Fails: never, whatever the peer sends.
"""

from __future__ import annotations

import binascii

from mta.identity import Challenge, Granted, Identity, Malformed, Refused, Step
from mta.smtp import auth_replies, replies
from mta.smtp.questions import Authenticate, Question, Respond
from mta.smtp.server_reply import ServerReply
from mta.smtp.stages import Stage
from mta.smtp.standing import Standing
from mta.smtp.terms import Terms

# RFC 4954 4: a line of the exchange, with its CRLF.
LONGEST_LINE = 12_288


class Authenticating(Standing):
    """
    A session that may authenticate.

    `identity` is who the client has proved to be. `binding` is the channel binding of its TLS connection, None where
    there is none: with one, the mechanisms that end in -PLUS are offered. `exchanging`: the next line is a response.
    """

    __slots__ = ("binding", "exchanging", "identity")

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self.identity: Identity | None = None
        self.binding: bytes | None = None
        self.exchanging = False

    def _ask(self, question: Question) -> Question:
        raise NotImplementedError

    @property
    def protocol(self) -> str:
        """The "with" keyword of the trace field (RFC 5321 4.4, RFC 6531 4.3, RFC 3848)."""
        if not (self.extended or self._terms.lmtp):
            return "SMTP"
        keyword = "LMTP" if self._terms.lmtp else "ESMTP"
        if self._message is not None and self._message.utf8:
            keyword = f"UTF8{keyword.removeprefix('E')}"
        return f"{keyword}{'S' if self.is_secure else ''}{'A' if self.identity else ''}"

    @property
    def is_bound(self) -> bool:
        """Whether there is a TLS connection that a mechanism may be bound to."""
        return self.is_secure and self.binding is not None

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What the client may authenticate with now; nothing in clear, but where the listener allows that."""
        return self._terms.offered(self.is_secure, self.is_bound)

    @property
    def takes_long_line(self) -> bool:
        """Whether a line may be as long as `LONGEST_LINE`: a response, or AUTH with an initial one."""
        return self.exchanging or bool(self.identity is None and self.mechanisms)

    def _forget_identity(self) -> None:
        """RFC 3207 4.2: what a client has proved in clear, or has begun to, is nothing within TLS."""
        self.identity, self.exchanging, self.binding = None, False, None

    def _auth(self, argument: str) -> bytes | Question:
        if (refusal := self._no_auth()) is not None:
            return self._refuse(refusal)
        name, _, initial = argument.partition(" ")
        if not name:
            return self._refuse(replies.BAD_SYNTAX, syntax="AUTH mechanism [initial-response]")
        mechanism = name.upper()
        if mechanism not in self.mechanisms:
            return self._refuse(auth_replies.UNKNOWN_MECHANISM)
        initial = initial.strip(" ")
        if not initial:
            return self._ask(Authenticate(mechanism, None))
        # RFC 4954 4: "=" is an initial response of no octets, for "" would be none at all.
        response = b"" if initial == "=" else _decoded(initial.encode("ascii"))
        if response is None:
            return self._refuse(auth_replies.BAD_BASE64)
        return self._ask(Authenticate(mechanism, response))

    def _no_auth(self) -> ServerReply | None:
        """Why AUTH may not be said now."""
        if not self._terms.mechanisms:
            return replies.NOT_IMPLEMENTED
        if self.stage is Stage.CONNECTED or not self.extended:
            return replies.HELLO_FIRST
        if self.identity is not None:
            return auth_replies.ALREADY
        if self.in_transaction:
            return auth_replies.NOT_IN_TRANSACTION
        return None if self.mechanisms else auth_replies.NEEDS_TLS

    def _response(self, line: bytes) -> bytes | Question:
        """A line within the exchange: it is no command, whatever it says."""
        self.exchanging = False
        if line == b"*":
            return self._refuse(auth_replies.CANCELLED)
        response = _decoded(line)
        return self._refuse(auth_replies.BAD_BASE64) if response is None else self._ask(Respond(response))

    def _is_exchange(self, start: bytes) -> bool:
        """Whether a line that begins so is of the exchange: a response, or AUTH with an initial one."""
        return self.exchanging or (self.takes_long_line and start[:5].upper() == b"AUTH ")

    def _response_too_long(self) -> bytes:
        self.exchanging = False
        return self._refuse(auth_replies.EXCHANGE_TOO_LONG)

    def _stepped(self, step: Step) -> bytes:
        """The reply to the command or the response that led to this step."""
        match step:
            case Challenge(data):
                self.exchanging = True
                challenge = binascii.b2a_base64(data, newline=False).decode("ascii")
                return auth_replies.CHALLENGE.fill(challenge=challenge).encode()
            case Granted(identity):
                self.identity = identity
                return auth_replies.AUTHENTICATED.wire
            case Refused():
                return self._refuse(auth_replies.WRONG)
            case Malformed():
                return self._refuse(auth_replies.MALFORMED)
        return self._refuse(auth_replies.UNAVAILABLE)


def _decoded(line: bytes) -> bytes | None:
    """The octets that base64 stands for; None for what is not its canonical form (RFC 4648 3.5, 4)."""
    try:
        octets = binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        return None
    return octets if binascii.b2a_base64(octets, newline=False) == line else None

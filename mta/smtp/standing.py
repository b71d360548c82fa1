"""
Where one session of the server stands.

Owns: its stage, the message under way, the record of its client, and the replies that change any of these.
Never: knows a command (`mta/smtp/server.py`).
"""

from __future__ import annotations

from mta.reply import Reply
from mta.smtp import message_replies
from mta.smtp.conduct import Conduct
from mta.smtp.incoming import Incoming
from mta.smtp.server_reply import ServerReply
from mta.smtp.stages import MOVES, OUT_OF_ORDER, Stage
from mta.smtp.terms import Terms


class Standing:
    """
    The state of one session.

    `helo` is what the client called itself, "" before that; `extended` says that it did so with EHLO or LHLO;
    `is_secure` that the session is within TLS. `refusal` is the reply given last, if it was one.
    """

    __slots__ = ("_conduct", "_message", "_terms", "extended", "helo", "is_secure", "refusal", "stage")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._message: Incoming | None = None
        self._conduct = Conduct(terms)
        self.stage = Stage.CONNECTED
        self.helo = ""
        self.extended = False
        self.is_secure = False
        self.refusal: Reply | None = None

    @property
    def closed(self) -> bool:
        """Whether the reply given last was the last one: close the connection behind it."""
        return self.stage is Stage.CLOSED

    @property
    def in_transaction(self) -> bool:
        """Whether a message is under way, from MAIL until the reply to its end."""
        return self._message is not None

    @property
    def slow(self) -> bool:
        """Whether the peer's errors call for a delay before the reply given last."""
        return self._conduct.slow

    @property
    def _current(self) -> Incoming:
        message = self._message
        assert message is not None
        return message

    def _begin(self) -> None:
        """Forget the reply given last."""
        self.refusal = None
        self._conduct.slow = False

    def _move(self, verb: bytes) -> None:
        self.stage = MOVES[self.stage][verb]

    def _misplaced(self, verb: bytes) -> bytes | None:
        return None if verb in MOVES[self.stage] else self._refuse(self._out_of_order(verb))

    def _out_of_order(self, verb: bytes) -> ServerReply:
        reply = OUT_OF_ORDER[self.stage, verb]
        # RFC 2033 4.2 wants 503 here.
        return (
            message_replies.NO_RECIPIENTS_LMTP
            if self._terms.lmtp and reply is message_replies.NO_VALID_RECIPIENTS
            else reply
        )

    def _given(self, reply: Reply) -> bytes:
        return reply.encode() if reply.is_positive else self._refuse_with(reply)

    def _refuse(self, reply: ServerReply, **fields: str) -> bytes:
        return self._refuse_with(reply.fill(**fields) if fields else reply.reply)

    def _refuse_with(self, reply: Reply) -> bytes:
        self.refusal = reply
        # A 4xx is no fault of the client: a list that meets 452 behind its thousandth recipient goes on (RFC 5321
        # 4.5.3.1.10) and must not be cut off for it.
        if reply.is_permanent:
            self._conduct.error()
        if reply.code == 421:
            self._message = None
            self.stage = Stage.CLOSED
        # RFC 6531 3.7.4.1: UTF-8 is for new addresses, in 251 and 551 alone.
        return reply.encode() if reply.code == 551 else reply.encode().decode().encode("ascii", "backslashreplace")

    def _close(self, reply: ServerReply) -> bytes:
        wire = self._refuse_with(reply.fill(hostname=self._terms.hostname))
        self._message = None
        self.stage = Stage.CLOSED
        return wire

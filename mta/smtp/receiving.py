"""
The content of messages in a session of the server, from the reply to DATA or BDAT to the end of the transaction.

Owns: which octets are stored, what is asked at their end, and the reply that ends the transaction.
Never: begins a transaction (`mta/smtp/server.py`), judges content (`mta/smtp/incoming.py`), stores it.
"""

from __future__ import annotations

from mta.address import Address
from mta.envelope import Envelope
from mta.reply import Reply
from mta.smtp import message_replies, replies
from mta.smtp.questions import EndOfData, Question
from mta.smtp.stages import Stage
from mta.smtp.substitution import Substitution
from mta.smtp.terms import Terms


class Receiving(Substitution):
    """A session that takes content, and has one question open at most."""

    __slots__ = ("_asked",)

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self._asked: Question | None = None

    def _ask(self, question: Question) -> Question:
        self._asked = question
        return question

    def content(self, data: bytes) -> bytes:
        """The octets to store out of `data`, that follow DATA or BDAT; none where all will be refused."""
        return self._current.feed(data)

    @property
    def envelope(self) -> Envelope:
        """The envelope of the message under way."""
        return self._current.envelope

    @property
    def sender(self) -> Address | None:
        """The sender of the message under way; None for the null reverse-path, and where there is no message."""
        return None if self._message is None else self._message.sender

    @property
    def ended(self) -> bool:
        """Whether the end of the data, or of the chunk, was seen; `rest` has the bytes behind it."""
        return self._current.decoder.finished

    @property
    def rest(self) -> bytes:
        return self._current.decoder.rest

    @property
    def condemned(self) -> bool:
        """Whether the message under way will be refused, so that nothing of it needs to be kept."""
        return self._current.is_condemned

    def spoil(self, reply: Reply = replies.FAULT.reply) -> None:
        """Note a fault of ours while content arrives: it is read to its end, and answered with `reply` then."""
        self._current.condemn(reply)

    def end_of_data(self, hops: int, header_too_large: bool = False, too_deep: bool = False) -> bytes | EndOfData:
        """
        The reply to what has `ended`, or the question that commits the message; `hops` in its header.

        Behind a chunk that is good but not the last the message goes on: it is `in_transaction` still.
        """
        self._begin()
        message = self._current
        refusal = message.verdict(hops, header_too_large, too_deep)
        if refusal is not None:
            return self._conclude(refusal)
        if not message.is_complete:
            self._move(b"+")
            return message_replies.CHUNK_OK.fill(size=str(message.chunk_size)).encode()
        question = EndOfData(message.envelope)
        self._asked = question
        return question

    def _conclude(self, reply: Reply) -> bytes:
        """End the transaction; RFC 2033 4.2: in LMTP there is a reply for each RCPT that was accepted, in order."""
        message = self._current
        self._message = None
        self.stage = Stage.READY if self.helo else Stage.CONNECTED
        wire = self._given(reply)
        return wire * message.accepted if self._terms.lmtp and message.accepted and message.is_complete else wire

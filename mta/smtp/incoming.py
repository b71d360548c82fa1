"""
A message on its way in: its envelope as it grows, its content as it passes, and the verdict on that content.

Owns: the list of recipients, the count of octets, what makes content unacceptable.
Never: keeps content, or decides whether a sender or recipient is welcome.
"""

from __future__ import annotations

from mta.address import Address
from mta.envelope import Body, Envelope, Recipient
from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.dots import DotDecoder
from mta.smtp.terms import Terms


class Incoming:
    """
    One message, from MAIL to the end of its data.

    `size` is in octets of content, without stuffed dots. With `normalize`, bare CR and LF become CRLF, else they are
    refused. `spoil` marks a fault of ours: the content is read to its end then, and none of it stored.
    """

    __slots__ = ("_decoder", "_normalize", "_recipients", "_spoiled", "_terms", "body", "sender", "size")

    def __init__(self, sender: Address | None, body: Body, terms: Terms, normalize: bool) -> None:
        self.sender = sender
        self.body = body
        self.size = 0
        self._terms = terms
        self._normalize = normalize
        self._recipients: dict[Address, Recipient] = {}
        self._decoder: DotDecoder | None = None
        self._spoiled = False

    # Envelope

    def __contains__(self, recipient: Address) -> bool:
        return recipient in self._recipients

    @property
    def is_full(self) -> bool:
        """Whether it has as many recipients as it may have."""
        return len(self._recipients) >= self._terms.recipients

    def add(self, recipient: Address) -> None:
        self._recipients[recipient] = Recipient(recipient)

    @property
    def envelope(self) -> Envelope:
        return Envelope(self.sender, tuple(self._recipients.values()), self.body)

    # Content

    @property
    def decoder(self) -> DotDecoder:
        """The decoder of the content, made when first asked for: most sessions idle without a message."""
        if self._decoder is None:
            self._decoder = DotDecoder(self._normalize, self._terms.text_line)
        return self._decoder

    def feed(self, data: bytes) -> bytes:
        """The octets to store out of `data`; none once the message is condemned."""
        content = self.decoder.feed(data)
        self.size += len(content)
        return b"" if self.is_condemned else content

    def spoil(self) -> None:
        self._spoiled = True

    @property
    def is_condemned(self) -> bool:
        """Whether it will be refused, whatever follows: nothing of it needs to be kept."""
        return self._spoiled or self._fault() is not None

    def verdict(self, hops: int) -> Reply | None:
        """
        The refusal of the whole content, or None; `hops` counts its Received fields.

        One reply, and the same one however the stream was cut: so the tests have an order of their own, it is not the
        fault met first that counts.
        """
        if self._spoiled:
            return replies.FAULT.reply
        fault = self._fault()
        if fault is None and hops > self._terms.hops:
            fault = replies.TOO_MANY_HOPS
        if fault is replies.TOO_LARGE:
            return fault.fill(limit=str(self._terms.message_size))
        return None if fault is None else fault.reply

    def _fault(self) -> replies.ServerReply | None:
        decoder = self.decoder
        if self.size > self._terms.message_size:
            return replies.TOO_LARGE
        if decoder.bare_newlines and not self._normalize:
            return replies.BARE_NEWLINE
        if decoder.long_line:
            return replies.TEXT_LINE_TOO_LONG
        return None

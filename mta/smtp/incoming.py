"""
A message on its way in: its envelope as it grows, its content as it passes, and the verdict on that content.

Owns: the list of recipients, the count of octets, what makes content unacceptable.
Never: keeps content, or decides whether a sender or recipient is welcome.
"""

from __future__ import annotations

from mta.address import Address
from mta.envelope import Body, Envelope, Notify, Recipient, RequireTls
from mta.reply import Reply
from mta.smtp import message_replies
from mta.smtp.bdat import ChunkDecoder
from mta.smtp.commands import Bdat, MailFrom, RcptTo
from mta.smtp.content import ContentDecoder
from mta.smtp.dots import DotDecoder
from mta.smtp.server_reply import ServerReply
from mta.smtp.terms import Terms

_NEVER = frozenset((Notify.NEVER,))
_NOBODY = MailFrom(None, None, Body.SEVEN_BIT)


class Incoming:
    """
    One message, from MAIL to the end of its data.

    `size` is in octets of content, without stuffed dots; `chunk_size` that of the chunk under way. With `normalize`,
    bare CR and LF become CRLF, else they are refused. `accepted` counts RCPT commands that were answered with yes, the
    same recipient again included.
    """

    __slots__ = (
        "_decoder",
        "_expanded",
        "_mail",
        "_named",
        "_normalize",
        "_recipients",
        "_refusal",
        "_terms",
        "accepted",
        "chunk_size",
        "size",
    )

    def __init__(self, mail: MailFrom, terms: Terms, normalize: bool) -> None:
        self.size = 0
        self.chunk_size = 0
        self.accepted = 0
        self._mail = mail
        self._terms = terms
        self._normalize = normalize
        self._named = 0
        self._recipients: dict[Address, Recipient] = {}
        self._expanded: dict[Address, Recipient] = {}
        self._decoder: ContentDecoder | None = None
        self._refusal: Reply | None = None

    @classmethod
    def unwelcome(cls, refusal: Reply, terms: Terms) -> Incoming:
        """Content that comes without a transaction: it has to be read to its end, and is refused then."""
        message = cls(_NOBODY, terms, normalize=False)
        message.condemn(refusal)
        return message

    # Envelope

    def __contains__(self, recipient: Address) -> bool:
        return recipient in self._recipients

    @property
    def is_full(self) -> bool:
        """Whether as many recipients were named as RCPTMAX allows (RFC 9422 4.2); their members do not count."""
        return self._named >= self._terms.recipients

    @property
    def utf8(self) -> bool:
        """Whether MAIL said SMTPUTF8."""
        return self._mail.utf8

    @property
    def sender(self) -> Address | None:
        return self._mail.sender

    @property
    def is_binary(self) -> bool:
        return self._mail.body is Body.BINARY_MIME

    def no_room(self, rcpt: RcptTo, instead: tuple[Address, ...] = ()) -> Reply | None:
        """
        Why it can't have the recipient, or all of those that stand in its place, as well; None where it can.

        A few commands must not make a hundred thousand rows; but what would have room alone may come again.
        """
        most = self._terms.expanded_recipients
        if len(instead) > most:
            return message_replies.LIST_TOO_LARGE.fill(recipient=str(rcpt.recipient))
        new = sum(address not in self._recipients for address in instead or (rcpt.recipient,))
        return message_replies.TOO_MANY_EXPANDED.reply if len(self._recipients) + new > most else None

    def add(self, rcpt: RcptTo, instead: tuple[Address, ...] = (), expanded: bool = False) -> None:
        """
        Add the recipient, or those that stand in its place; who is there already stays as it was.

        RFC 3461 5.2.7: one other address is the same recipient still; where it is `expanded` into several its sender is
        told that, and of what becomes of them hears failures and delays only.
        """
        self.accepted += 1
        self._named += 1
        if not instead:
            self._recipients[rcpt.recipient] = Recipient(rcpt.recipient, rcpt.notify, rcpt.orcpt)
            return
        notify = rcpt.notify
        if expanded and notify is not None and Notify.SUCCESS in notify:
            self._expanded[rcpt.recipient] = Recipient(rcpt.recipient, notify, rcpt.orcpt)
            notify = notify - {Notify.SUCCESS} or _NEVER
        for address in instead:
            self._recipients.setdefault(address, Recipient(address, notify, rcpt.orcpt, str(rcpt.recipient)))

    def add_again(self) -> None:
        """A recipient was named that is there already."""
        self.accepted += 1

    @property
    def envelope(self) -> Envelope:
        mail, recipients, expanded = self._mail, tuple(self._recipients.values()), tuple(self._expanded.values())
        tls = RequireTls.YES if mail.requiretls else None  # what the header says is known at the end
        return Envelope(mail.sender, recipients, mail.body, mail.utf8, mail.ret, mail.envid, expanded, tls)

    # Content

    @property
    def decoder(self) -> ContentDecoder:
        """The decoder of the content, made when first asked for: most sessions idle without a message."""
        if self._decoder is None:
            self._decoder = DotDecoder(self._normalize, self._terms.text_line)
        return self._decoder

    def begin_chunk(self, chunk: Bdat) -> None:
        """A chunk of the content follows. One that makes it too large is known to before it is there."""
        decoder = self._decoder
        if not isinstance(decoder, ChunkDecoder):
            decoder = self._decoder = ChunkDecoder(self.is_binary, self._normalize, self._terms.text_line)
        self.chunk_size = chunk.size
        decoder.begin(chunk.size, chunk.last)
        if self._refusal is None and self.size + chunk.size > self._terms.message_size:
            self.condemn(self._too_large())
        if not chunk.size:
            self.feed(b"")

    @property
    def is_complete(self) -> bool:
        """Whether nothing follows what has ended: behind a chunk that is not the last, something does."""
        return not isinstance(self._decoder, ChunkDecoder) or self._decoder.last

    def feed(self, data: bytes) -> bytes:
        """The octets to store out of `data`; none once the message is condemned."""
        content = self.decoder.feed(data)
        self.size += len(content)
        return b"" if self.is_condemned else content

    def condemn(self, refusal: Reply) -> None:
        """Refuse the message when its content has been read to its end, for a reason that is not in the content."""
        self._refusal = refusal

    @property
    def is_condemned(self) -> bool:
        """Whether it will be refused, whatever follows: nothing of it needs to be kept."""
        return self._refusal is not None or self._fault() is not None

    def verdict(self, hops: int, header_too_large: bool = False, too_deep: bool = False) -> Reply | None:
        """
        The refusal of the whole content, or None; `hops` counts its Received fields.

        One reply, and the same one however the stream was cut: so the tests have an order of their own, it is not the
        fault met first that counts.
        """
        if self._refusal is not None:
            return self._refusal
        fault = self._fault()
        if fault is None and header_too_large:
            fault = message_replies.HEADER_TOO_LARGE
        if fault is None and too_deep:
            fault = message_replies.TOO_DEEP
        if fault is None and hops > self._terms.hops:
            fault = message_replies.TOO_MANY_HOPS
        if fault is message_replies.TOO_LARGE:
            return self._too_large()
        return None if fault is None else fault.reply

    def _too_large(self) -> Reply:
        return message_replies.TOO_LARGE.fill(limit=str(self._terms.message_size))

    def _fault(self) -> ServerReply | None:
        decoder = self.decoder
        if self.size > self._terms.message_size:
            return message_replies.TOO_LARGE
        if decoder.bare_newlines and not self._normalize:
            return message_replies.BARE_NEWLINE
        if decoder.long_line:
            return message_replies.TEXT_LINE_TOO_LONG
        return None

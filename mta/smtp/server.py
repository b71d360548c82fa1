"""
One session of the SMTP server, without I/O (RFC 5321).

Owns: the order of commands, the envelope under way, the verdict on the content, the counts of errors and junk.
Never: decides who may send to whom, stores content, waits, reads a clock: it asks (`Question`) and is answered.
Fails: never, whatever the peer sends.

The caller hands over one command line at a time. `ServerSession.line` returns the reply as bytes, or a question; the
caller answers it with `ServerSession.answered` and gets the reply then. One reply for each command, in order: that is
a property of this shape, not of the caller's care. After the answer to `StartData` the caller hands over content
until `ServerSession.ended`, and `ServerSession.end_of_data` is the reply or the last question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from mta.envelope import Envelope
from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.commands import (
    NOT_IMPLEMENTED,
    Hello,
    MailFrom,
    RcptTo,
    read_hello,
    read_mail,
    read_rcpt,
    split_command,
)
from mta.smtp.incoming import Incoming
from mta.smtp.replies import ServerReply
from mta.smtp.stages import MOVES, OUT_OF_ORDER, Stage
from mta.smtp.terms import Terms


@dataclass(frozen=True, slots=True)
class StartData:
    """DATA: the envelope is complete; is there a place for the content?"""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class EndOfData:
    """The content is complete and acceptable: commit it, then answer with `ServerSession.queued`."""

    envelope: Envelope


Question = Hello | MailFrom | RcptTo | StartData | EndOfData


class ServerSession:
    """
    One session.

    `trusted` clients may pipeline unasked and send any number of messages; with `normalize`, bare CR and LF in their
    content become CRLF instead of being refused.
    """

    __slots__ = (
        "_asked",
        "_errors",
        "_junk",
        "_message",
        "_messages",
        "_normalize",
        "_terms",
        "_trusted",
        "extended",
        "helo",
        "refusal",
        "slow",
        "stage",
    )

    def __init__(self, terms: Terms, trusted: bool = False, normalize: bool = False) -> None:
        self._terms = terms
        self._trusted = trusted
        self._normalize = normalize
        self._asked: Question | None = None
        self._message: Incoming | None = None
        self._errors = self._junk = self._messages = 0
        self.stage = Stage.CONNECTED
        self.helo = ""
        self.extended = False
        # Of the reply given last: the refusal it was, if any, and whether the peer's errors call for a delay.
        self.refusal: Reply | None = None
        self.slow = False

    @property
    def closed(self) -> bool:
        """Whether the reply given last was the last one: close the connection behind it."""
        return self.stage is Stage.CLOSED

    @property
    def in_transaction(self) -> bool:
        """Whether a message is under way, from MAIL until the reply to its end."""
        return self._message is not None

    @property
    def protocol(self) -> str:
        """The "with" keyword of the trace field (RFC 5321 4.4)."""
        return "ESMTP" if self.extended else "SMTP"

    def greeting(self) -> bytes:
        """What the peer hears first."""
        return self._terms.greeting

    # Commands

    def line(self, line: bytes, more: bool) -> bytes | Question:
        """
        The reply to a command line, or a question that `answered` turns into one.

        `line` comes without its CRLF; `more` says that the peer has sent bytes behind it already.
        """
        self.refusal = None
        self.slow = False
        if self._errors >= self._terms.errors_hard:
            return self._close(replies.TOO_MANY_ERRORS)
        split = split_command(line)
        if split is None:
            return self._refuse(replies.BAD_LINE)
        verb, argument = split
        command = self._COMMANDS.get(verb)
        # RFC 2920 3.1: HELO, EHLO and DATA end a group, and without EHLO there are no groups. Who does not keep to it
        # does not read our replies: a zombie, or a browser made to speak to us. DATA is no matter of trust.
        if more and (verb == b"DATA" or not self._trusted) and self._ends_group(verb):
            return self._close(replies.OUT_OF_TURN)
        if command is None:
            return self._refuse(replies.NOT_IMPLEMENTED if verb in NOT_IMPLEMENTED else replies.UNKNOWN_COMMAND)
        if not argument.isascii():
            # RFC 6531 3.5 where it is an address; anywhere else it is an argument like any that is malformed.
            addressed = verb in (b"MAIL", b"RCPT")
            return self._refuse(replies.NOT_ASCII if addressed else replies.BAD_LINE)
        return command(self, argument.decode("ascii"))

    def _ends_group(self, verb: bytes) -> bool:
        if verb == b"QUIT":
            return False  # nothing behind it is read
        return not self.extended or verb in (b"EHLO", b"HELO", b"DATA")

    def line_too_long(self) -> bytes:
        """The reply to a command line of which only the excess is known."""
        self.refusal = None
        self.slow = False
        if self._errors >= self._terms.errors_hard:
            return self._close(replies.TOO_MANY_ERRORS)
        return self._refuse(replies.LINE_TOO_LONG)

    def _helo(self, argument: str) -> bytes | Question:
        return self._hello(argument, extended=False)

    def _ehlo(self, argument: str) -> bytes | Question:
        return self._hello(argument, extended=True)

    def _hello(self, argument: str, extended: bool) -> bytes | Question:
        hello = read_hello(argument, extended)
        if isinstance(hello, Reply):
            return self._refuse_with(hello)
        if self.helo:
            self._count_junk()
        return self._ask(hello)

    def _mail(self, argument: str) -> bytes | Question:
        if (misplaced := self._misplaced(b"MAIL")) is not None:
            return misplaced
        if self._messages >= self._terms.messages_per_session and not self._trusted:
            return self._close(replies.TOO_MANY_MESSAGES)
        mail = read_mail(argument, self.extended)
        if isinstance(mail, Reply):
            return self._refuse_with(mail)
        if mail.size is not None and mail.size > self._terms.message_size:
            return self._refuse(replies.TOO_LARGE, limit=str(self._terms.message_size))
        return self._ask(mail)

    def _rcpt(self, argument: str) -> bytes | Question:
        if (misplaced := self._misplaced(b"RCPT")) is not None:
            return misplaced
        rcpt = read_rcpt(argument, self._terms.hostname)
        if isinstance(rcpt, Reply):
            return self._refuse_with(rcpt)
        if rcpt.recipient in self._current:
            return replies.RECIPIENT_OK.wire
        if self._current.is_full:
            return self._refuse(replies.TOO_MANY_RECIPIENTS)
        return self._ask(rcpt)

    def _data(self, argument: str) -> bytes | Question:
        if argument:
            return self._refuse(replies.BAD_SYNTAX, syntax="DATA")
        if (misplaced := self._misplaced(b"DATA")) is not None:
            return misplaced
        return self._ask(StartData(self._current.envelope))

    def _rset(self, argument: str) -> bytes:
        if argument:
            return self._refuse(replies.BAD_SYNTAX, syntax="RSET")
        self._count_junk()
        self._message = None
        self._move(b"RSET")
        return replies.OK.wire

    def _noop(self, _argument: str) -> bytes:
        self._count_junk()
        return replies.OK.wire  # RFC 5321 4.1.1.9: an argument is ignored

    def _help(self, _argument: str) -> bytes:
        self._count_junk()
        return replies.HELP.wire

    def _vrfy(self, argument: str) -> bytes:
        if not argument:
            return self._refuse(replies.BAD_SYNTAX, syntax="VRFY address")
        self._count_junk()
        return replies.CANNOT_VERIFY.wire

    def _quit(self, argument: str) -> bytes:
        if argument:
            return self._refuse(replies.BAD_SYNTAX, syntax="QUIT")
        self._message = None
        self._move(b"QUIT")
        return replies.GOODBYE.fill(hostname=self._terms.hostname).encode()

    _COMMANDS: ClassVar[dict[bytes, Callable[[ServerSession, str], bytes | Question]]] = {
        b"HELO": _helo,
        b"EHLO": _ehlo,
        b"MAIL": _mail,
        b"RCPT": _rcpt,
        b"DATA": _data,
        b"RSET": _rset,
        b"NOOP": _noop,
        b"HELP": _help,
        b"VRFY": _vrfy,
        b"QUIT": _quit,
    }

    # Answers

    def _ask(self, question: Question) -> Question:
        self._asked = question
        return question

    def answered(self, refusal: Reply | None) -> bytes:
        """The reply to the command that the open question came from; `refusal` None says yes to it."""
        asked, self._asked = self._asked, None
        if refusal is not None:
            if isinstance(asked, EndOfData):
                self._finish()
            return self._refuse_with(refusal)
        match asked:
            case RcptTo(recipient):
                self._current.add(recipient)
                self._move(b"RCPT")
                return replies.RECIPIENT_OK.wire
            case MailFrom(sender, _, body):
                self._message = Incoming(sender, body, self._terms, self._normalize)
                self._move(b"MAIL")
                return replies.SENDER_OK.wire
            case StartData():
                self._move(b"DATA")
                return replies.START_DATA.wire
            case Hello(name, extended):
                # RFC 5321 4.1.4: a hello resets the session as RSET does.
                self._message = None
                self.helo, self.extended = name, extended
                self._move(b"EHLO")
                return self._terms.ehlo if extended else self._terms.helo
        raise AssertionError(f"{asked!r} can't be answered with yes")

    def queued(self, queue_id: str) -> bytes:
        """The answer to `EndOfData` once the message is durable: its reply."""
        self._asked = None
        self._finish()
        # As Postfix does it: the limits on errors and junk are for clients that never deliver anything.
        self._errors = self._junk = 0
        self._messages += 1
        return replies.QUEUED.fill(queue_id=queue_id).encode()

    def failed(self) -> bytes:
        """The reply to a command that a fault of ours kept from being carried out; the session goes on without mail."""
        self._asked = None
        self._message = None
        if self.stage not in (Stage.CONNECTED, Stage.CLOSED):
            self.stage = Stage.READY
        return self._refuse(replies.FAULT)

    # Content

    def content(self, data: bytes) -> bytes:
        """The octets to store out of `data`, which came behind the reply to DATA; none where all will be refused."""
        return self._current.feed(data)

    @property
    def ended(self) -> bool:
        """Whether the end of the data was seen; `rest` has the bytes behind it."""
        return self._current.decoder.finished

    @property
    def rest(self) -> bytes:
        return self._current.decoder.rest

    @property
    def condemned(self) -> bool:
        """Whether the message under way will be refused, so that nothing of it needs to be kept."""
        return self._current.is_condemned

    def spoil(self) -> None:
        """Note a fault of ours while content arrives: it is read to its end, and the reply will be 451."""
        self._current.spoil()

    def end_of_data(self, hops: int) -> bytes | EndOfData:
        """The reply that refuses the content for what it is, or the question that commits it; `hops` in its header."""
        self.refusal = None
        self.slow = False
        refusal = self._current.verdict(hops)
        if refusal is not None:
            self._finish()
            return self._refuse_with(refusal)
        question = EndOfData(self._current.envelope)
        self._asked = question
        return question

    def _finish(self) -> None:
        self._message = None
        self._move(b".")

    # State

    @property
    def _current(self) -> Incoming:
        message = self._message
        assert message is not None
        return message

    def _move(self, verb: bytes) -> None:
        self.stage = MOVES[self.stage][verb]

    def _misplaced(self, verb: bytes) -> bytes | None:
        if verb in MOVES[self.stage]:
            return None
        return self._refuse(OUT_OF_ORDER[self.stage, verb])

    def _count_junk(self) -> None:
        """Commands that lead to no mail are free up to a number, then each is an error (as Postfix counts them)."""
        self._junk += 1
        if self._junk > self._terms.junk_commands:
            self._count_error()

    def _count_error(self) -> None:
        self._errors += 1
        self.slow = self._errors > self._terms.errors_soft

    def _refuse(self, reply: ServerReply, **fields: str) -> bytes:
        return self._refuse_with(reply.fill(**fields) if fields else reply.reply)

    def _refuse_with(self, reply: Reply) -> bytes:
        self.refusal = reply
        # A 4xx is no fault of the client: a list that meets 452 behind its thousandth recipient goes on (RFC 5321
        # 4.5.3.1.10) and must not be cut off for it.
        if reply.is_permanent:
            self._count_error()
        if reply.code == 421:
            self._message = None
            self.stage = Stage.CLOSED
        return reply.encode()

    def _close(self, reply: ServerReply) -> bytes:
        wire = self._refuse_with(reply.fill(hostname=self._terms.hostname))
        self._message = None
        self.stage = Stage.CLOSED
        return wire

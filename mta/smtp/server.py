"""
One session of the SMTP server, without I/O (RFC 5321).

Owns: what each command does, and the questions that it becomes.
Never: decides who may send to whom, stores content, waits, reads a clock: it asks (`Question`) and is answered.
Fails: never, whatever the peer sends.

The caller hands over one command line at a time. `ServerSession.line` returns the reply as bytes, or a question; the
caller answers it with `ServerSession.answered` and gets the reply then. One reply for each command, in order: that is
a property of this shape, not of the caller's care. After the answer to `StartData` the caller hands over content
until `ServerSession.ended`, and `ServerSession.end_of_data` is the reply or the last question. After a yes to
`StartTls` it drops what else the peer has sent, and `ServerSession.secured` has the session start anew when the
handshake is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from mta.address import Address
from mta.identity import Step
from mta.reply import Reply
from mta.smtp import message_replies, replies
from mta.smtp.commands import (
    NOT_IMPLEMENTED,
    OBSOLETE,
    Hello,
    MailFrom,
    RcptTo,
    is_bdat,
    read_bdat,
    read_etrn,
    read_expand,
    read_hello,
    read_mail,
    read_rcpt,
    read_verify,
    split_command,
)
from mta.smtp.help import help_on
from mta.smtp.incoming import Incoming
from mta.smtp.questions import EndOfData, Question, StartChunk, StartData, StartTls
from mta.smtp.receiving import Receiving
from mta.smtp.server_reply import ServerReply
from mta.smtp.stages import MOVES, Stage
from mta.smtp.terms import Terms

__all__ = ["EndOfData", "Question", "ServerSession", "StartChunk", "StartData", "StartTls"]

_HELLOS = frozenset((b"EHLO", b"HELO", b"LHLO"))
# RFC 6531 3.3, 3.7.4.2: commands whose argument may go beyond ASCII.
_INTERNATIONAL = frozenset((b"MAIL", b"RCPT", b"VRFY", b"EXPN"))


class ServerSession(Receiving):
    """
    One session.

    `trusted` clients may pipeline unasked, send any number of messages and ask who lives here; with `normalize`, bare
    CR and LF in their content become CRLF instead of being refused. `unwanted` clients may only quit (RFC 5321 3.1).
    """

    __slots__ = ("_commands", "_messages", "_normalize", "_trusted", "_turned_away")

    def __init__(self, terms: Terms, trusted: bool = False, normalize: bool = False, unwanted: bool = False) -> None:
        super().__init__(terms)
        self._commands = self._LMTP if terms.lmtp else self._SMTP
        self._trusted = trusted
        self._normalize = normalize
        self._turned_away = replies.CLOSED if terms.closed else replies.REFUSED_CLIENT if unwanted else None
        self._messages = 0

    def greeting(self) -> bytes:
        """What the peer hears first."""
        if self._turned_away is replies.REFUSED_CLIENT:
            return replies.REFUSED_GREETING.fill(hostname=self._terms.hostname).encode()
        return self._terms.greeting

    # Commands

    def line(self, line: bytes, more: bool) -> bytes | Question:
        """
        The reply to a command line, or a question that `answered` turns into one.

        `line` comes without its CRLF; `more` says that the peer has sent bytes behind it already.
        """
        self._begin()
        if self._conduct.is_hopeless:
            return self._close(replies.TOO_MANY_ERRORS)
        if self.exchanging:
            return self._response(line)
        split = split_command(line)
        if split is None:
            return self._unreadable(line, replies.BAD_LINE)
        verb, argument = split
        command = self._commands.get(verb)
        # RFC 2920 3.1: HELO, EHLO and DATA end a group, and without EHLO there are no groups. Who does not keep to it
        # does not read our replies: a zombie, or a browser made to speak to us. DATA is no matter of trust.
        if more and (verb == b"DATA" or not self._trusted) and self._ends_group(verb):
            return self._close(replies.OUT_OF_TURN)
        if self._turned_away is not None and verb != b"QUIT":
            if verb == b"BDAT":
                return self._close(self._turned_away)  # a chunk follows, no commands
            return self._refuse(self._turned_away, hostname=self._terms.hostname)
        if command is None:
            return self._refuse(self._why_not(verb))
        try:
            text = argument.decode("ascii")
        except UnicodeDecodeError:
            if verb not in _INTERNATIONAL:
                return self._unreadable(line, replies.BAD_LINE)
            text = argument.decode("utf-8", "surrogateescape")  # no grammar accepts a lone surrogate
        return command(self, text)

    def _ends_group(self, verb: bytes) -> bool:
        if verb == b"QUIT":
            return False  # nothing behind it is read
        return not self.extended or verb == b"DATA" or verb in _HELLOS

    def _why_not(self, verb: bytes) -> ServerReply:
        """What is said to a verb that is no command here."""
        if verb in _HELLOS:
            return replies.LMTP_HELLO if self._terms.lmtp else replies.NOT_LMTP
        if verb in OBSOLETE:
            return replies.OBSOLETE
        return replies.NOT_IMPLEMENTED if verb in NOT_IMPLEMENTED else replies.UNKNOWN_COMMAND

    def line_too_long(self, start: bytes) -> bytes:
        """The reply to a command line of which only the `start` is known."""
        self._begin()
        if self._conduct.is_hopeless:
            return self._close(replies.TOO_MANY_ERRORS)
        if self._is_exchange(start):
            return self._response_too_long()
        return self._unreadable(start, replies.LINE_TOO_LONG)

    def _unreadable(self, line: bytes, reply: ServerReply) -> bytes:
        """The reply to a line that can't be taken apart; behind one of BDAT, which is nothing else, a chunk follows."""
        if is_bdat(line):
            return self._close(self._turned_away or message_replies.BAD_CHUNK)
        return self._refuse(self._turned_away or reply, hostname=self._terms.hostname)

    def _helo(self, argument: str) -> bytes | Question:
        return self._hello(argument, extended=False)

    def _ehlo(self, argument: str) -> bytes | Question:
        return self._hello(argument, extended=True)

    def _hello(self, argument: str, extended: bool) -> bytes | Question:
        hello = read_hello(argument, extended)
        if isinstance(hello, Reply):
            return self._refuse_with(hello)
        if self.helo:
            self._conduct.junk()
        return self._ask(hello)

    def _mail(self, argument: str) -> bytes | Question:
        if (misplaced := self._misplaced(b"MAIL")) is not None:
            return misplaced
        if self._messages >= self._terms.messages_per_session and not self._trusted:
            return self._close(replies.TOO_MANY_MESSAGES)
        mail = read_mail(argument, self.extended, bool(self.mechanisms), self._terms.requiretls)
        if isinstance(mail, Reply):
            return self._refuse_with(mail)
        if mail.requiretls and not self.is_secure:
            return self._refuse(message_replies.REQUIRETLS_IN_CLEAR)
        if mail.size is not None and mail.size > self._terms.message_size:
            return self._refuse(message_replies.TOO_LARGE, limit=str(self._terms.message_size))
        return self._ask(mail)

    def _rcpt(self, argument: str) -> bytes | Question:
        if (misplaced := self._misplaced(b"RCPT")) is not None:
            return misplaced
        message = self._current
        rcpt = read_rcpt(argument, self._terms.hostname, self.extended, message.utf8)
        if isinstance(rcpt, Reply):
            return self._refuse_with(rcpt)
        if rcpt.recipient in message:
            message.add_again()
            return message_replies.RECIPIENT_OK.wire
        if message.is_full:
            return self._refuse(message_replies.TOO_MANY_RECIPIENTS)
        return self._ask(rcpt)

    def _data(self, argument: str) -> bytes | Question:
        if argument:
            return self._refuse(replies.BAD_SYNTAX, syntax="DATA")
        if (misplaced := self._misplaced(b"DATA")) is not None:
            return misplaced
        if self._current.is_binary:
            return self._refuse(message_replies.BINARY_NEEDS_BDAT)
        return self._ask(StartData(self._current.envelope))

    def _bdat(self, argument: str) -> bytes | Question:
        chunk = read_bdat(argument)
        if chunk is None:
            return self._close(message_replies.BAD_CHUNK)
        # RFC 3030 2: a chunk that is refused is read all the same, and never taken for commands. It ends the
        # transaction, so that what the client has pipelined behind it, another message even, finds its place.
        misplaced = None if b"BDAT" in MOVES[self.stage] else self._out_of_order(b"BDAT").reply
        if misplaced is not None:
            self._message = Incoming.unwelcome(misplaced, self._terms)
        self._current.begin_chunk(chunk)
        self.stage = Stage.CHUNK
        return StartChunk()

    def _rset(self, argument: str) -> bytes:
        if argument:
            return self._refuse(replies.BAD_SYNTAX, syntax="RSET")
        self._conduct.junk()
        self._message = None
        self._move(b"RSET")
        return replies.OK.wire

    def _noop(self, _argument: str) -> bytes:
        self._conduct.junk()
        return replies.OK.wire  # RFC 5321 4.1.1.9: an argument is ignored

    def _help(self, argument: str) -> bytes:
        self._conduct.junk()
        return self._given(help_on(argument, self._terms, self._trusted, self.is_secure, self.may_substitute))

    def _vrfy(self, argument: str) -> bytes | Question:
        question = read_verify(argument)
        if isinstance(question, Reply):
            return self._refuse_with(question)
        self._conduct.junk()
        return self._ask(question) if self._trusted else replies.CANNOT_VERIFY.wire

    def _expn(self, argument: str) -> bytes | Question:
        question = read_expand(argument)
        if isinstance(question, Reply):
            return self._refuse_with(question)
        self._conduct.junk()
        return self._ask(question) if self._trusted else replies.CANNOT_EXPAND.wire  # RFC 5321 7.3: not 502

    def _etrn(self, argument: str) -> bytes | Question:
        if not self._terms.etrn:
            return self._refuse(replies.NOT_IMPLEMENTED)
        question = read_etrn(argument)
        if isinstance(question, Reply):
            return self._refuse_with(question)
        if self.stage is not Stage.READY:  # RFC 1985 5: not within a transaction
            return self._refuse(message_replies.NESTED_MAIL if self.helo else replies.HELLO_FIRST)
        self._conduct.junk()
        return self._ask(question)

    def _starttls(self, argument: str) -> bytes | Question:
        if not self._terms.starttls:
            return self._refuse(replies.NOT_IMPLEMENTED)
        if argument:
            return self._refuse(replies.BAD_SYNTAX, syntax="STARTTLS")
        if self.is_secure:
            return self._refuse(replies.TLS_ACTIVE)
        misplaced = self._misplaced(b"STARTTLS")
        return self._ask(StartTls()) if misplaced is None else misplaced

    def secured(self, trusted: bool = False) -> None:
        """
        TLS has begun: forget all that the client has said (RFC 3207 4.2), and take it for `trusted` from now on.

        What it has used up of its limits stays used up. A client that was trusted before stays it.
        """
        self.is_secure = True
        self._trusted = self._trusted or trusted
        self._message = None
        self._asked = None
        self.helo, self.extended = "", False
        self._forget_identity()
        self.stage = Stage.CONNECTED

    def _quit(self, argument: str) -> bytes:
        if argument:
            return self._refuse(replies.BAD_SYNTAX, syntax="QUIT")
        self._message = None
        self._move(b"QUIT")
        return replies.GOODBYE.fill(hostname=self._terms.hostname).encode()

    _SMTP: ClassVar[dict[bytes, Callable[[ServerSession, str], bytes | Question]]] = {
        b"HELO": _helo,
        b"EHLO": _ehlo,
        b"MAIL": _mail,
        b"RCPT": _rcpt,
        b"DATA": _data,
        b"BDAT": _bdat,
        b"RSET": _rset,
        b"NOOP": _noop,
        b"HELP": _help,
        b"VRFY": _vrfy,
        b"EXPN": _expn,
        b"ETRN": _etrn,
        b"STARTTLS": _starttls,
        b"AUTH": Receiving._auth,
        b"XCLIENT": Receiving._xclient,
        b"QUIT": _quit,
    }
    # RFC 2033 4.1: LHLO is EHLO by another name, and there is neither of the others.
    _LMTP: ClassVar[dict[bytes, Callable[[ServerSession, str], bytes | Question]]] = {
        b"LHLO": _ehlo,
        **{verb: command for verb, command in _SMTP.items() if verb not in (b"HELO", b"EHLO", b"ETRN", b"AUTH")},
    }

    # Answers

    def answered(self, reply: Reply | None, instead: tuple[Address, ...] = (), expanded: bool = False) -> bytes:
        """
        The reply to the command that the open question came from.

        `reply` None says yes to it, a positive one does so in words of its own, any other is its refusal. Of `RcptTo`,
        `instead` are the addresses that take the recipient's place, `expanded` as in `mta.policy.verdict.Verdict`.
        """
        asked, self._asked = self._asked, None
        if isinstance(asked, RcptTo) and reply is not None and not (self._current.utf8 or str(reply).isascii()):
            # RFC 6531 3.7.4.1: who did not say SMTPUTF8 must not be told a new address that is not ASCII.
            reply = None if reply.is_positive else message_replies.NO_SUCH_USER.fill(recipient=str(asked.recipient))
        if reply is not None and not reply.is_positive:
            if isinstance(asked, EndOfData):
                return self._conclude(reply)
            return self._refuse_with(reply)
        match asked:
            case RcptTo():
                if (refusal := self._current.no_room(asked, instead)) is not None:
                    return self._refuse_with(refusal)
                self._current.add(asked, instead, expanded)
                self._move(b"RCPT")
                wire = message_replies.RECIPIENT_OK.wire
            case MailFrom():
                self._message = Incoming(asked, self._terms, self._normalize)
                self._move(b"MAIL")
                wire = message_replies.SENDER_OK.wire
            case StartData():
                self._move(b"DATA")
                wire = message_replies.START_DATA.wire
            case Hello(name, extended):
                # RFC 5321 4.1.4: a hello resets the session as RSET does.
                self._message = None
                self.helo, self.extended = name, extended
                self._move(b"EHLO")
                hello = self._terms.hello(self._trusted, self.is_secure, self.is_bound)
                wire = self._offered(hello) if extended else self._terms.helo
            case StartTls():
                self._move(b"STARTTLS")
                wire = replies.START_TLS.wire
            case _:
                assert reply is not None, f"{asked!r} can't be answered with yes"
                wire = b""
        return wire if reply is None else reply.encode()

    def authenticated(self, step: Step) -> bytes:
        """The answer to `Authenticate` and `Respond`: the reply."""
        self._asked = None
        return self._stepped(step)

    def queued(self, queue_id: str) -> bytes:
        """The answer to `EndOfData` once the message is durable: its reply."""
        self._asked = None
        self._conduct.forgive()
        self._messages += 1
        return self._conclude(message_replies.QUEUED.fill(queue_id=queue_id))

    def failed(self, reply: Reply = replies.FAULT.reply) -> bytes:
        """The reply to a command that a fault of ours kept from being carried out; the session goes on without mail."""
        self._asked, self.exchanging = None, False
        if self.stage in (Stage.DATA, Stage.CHUNK) and self._message is not None:
            return self._conclude(reply)
        self._message = None
        if self.stage not in (Stage.CONNECTED, Stage.CLOSED):
            self.stage = Stage.READY
        return self._refuse_with(reply)

"""
The client's side of an SMTP connection: bytes and transactions in, bytes and events out.

Owns: the order of the dialogue, which reply answers which command, pipelining, and what the end of a connection means
for the message on it.
Never: touches a socket, a clock or a file. The shell (`mta/delivery/connection.py`) has a timeout for each `Stage`.
Fails: never for what a server sends. `begin` at the wrong time is a RuntimeError of the caller.

A dialogue that is out of step (a reply nobody asked for, nonsense, a 2xx where only 3xx can stand) is never believed:
whatever it seemed to say of a recipient becomes a deferral, and the connection ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from mta.address import Address
from mta.login import Login
from mta.outcome import Deferral, Handover, Phase, Scope, judge_reply
from mta.reply import Reply
from mta.smtp.client_content import Dots, Gated, content_for
from mta.smtp.client_events import ClientEvent, Ended, SendContent, TransactionDone
from mta.smtp.client_opening import NO_WISH, Opening, TlsWish
from mta.smtp.client_stage import COMPLETING, PHASES, WAITING, WELCOME, Stage
from mta.smtp.reply_parser import ReplyError
from mta.smtp.transaction import Progress, Transaction


class ClientSession(Opening):
    """
    One connection, from the greeting to its end.

    `hello` is our name, `host` the server's as "name[ip]:port". With `lmtp` it speaks LMTP (RFC 2033); with `bdat`
    content goes by BDAT where that is offered, binary content always does; `wish` is what it does about TLS, and
    `login` who we are there, where `nonce` is random text of this connection alone. After each call take all of
    `next_event`, then send `take_output`. `replies` counts the replies so far: a timeout starts anew with each, not
    with each byte.
    """

    def __init__(
        self,
        hello: str,
        host: str,
        *,
        lmtp: bool = False,
        bdat: bool = False,
        wish: TlsWish = NO_WISH,
        login: Login | None = None,
        nonce: str = "",
    ) -> None:
        super().__init__(hello, host, lmtp, wish, login, nonce)
        self.replies = 0
        self._bdat = bdat
        self._content = Gated(Dots())
        self._domains: set[str] = set()  # of recipients so far (RFC 9422 4.3)
        self._resting = Stage.READY  # the stage while none is due
        self._unsent: deque[tuple[Stage, bytes]] = deque()  # commands that wait for the reply to the one before
        self._progress: Progress | None = None

    @property
    def stage(self) -> Stage:
        return self._due[0] if self._due else self._resting

    @property
    def has_ended(self) -> bool:
        return self._resting is Stage.ENDED

    @property
    def wants_content(self) -> bool:
        """Whether `send_content` does anything."""
        return self._resting is Stage.CONTENT

    @property
    def phase(self) -> Phase:
        """The stage in the words of an outcome."""
        return PHASES[self.stage]

    def next_event(self) -> ClientEvent | None:
        """The next thing that happened, or None."""
        return self._events.popleft() if self._events else None

    def take_output(self) -> bytes:
        """All bytes that wait to be sent."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    # -- What the caller asks for

    def begin(self, transaction: Transaction) -> None:
        """Start a transaction. The session must be READY."""
        if self.stage is not Stage.READY:
            raise RuntimeError(f"a transaction cannot begin while the session waits for {self.stage.value}")
        offers = self.capabilities
        self._progress = progress = Progress(transaction, self.host, self._handover, self.tls)
        commands = progress.commands(offers, self._domains)
        if not progress.asked:
            self._done()
            return
        stages = [Stage.MAIL, *(Stage.RCPT for _ in progress.asked)]
        self._content = content_for(transaction, offers, self._bdat)
        if self._content.is_dotted:
            stages.append(Stage.DATA)
            commands.append(b"DATA\r\n")
        if offers.pipelining:
            # RFC 2920 3.1: MAIL, RCPT and, as the last one of the group, DATA. Chunks wait for the replies though they
            # need not: nobody pays for content that no recipient is left for.
            self._output.append(b"".join(commands))
            self._due.extend(stages)
        else:
            self._unsent.extend(zip(stages, commands, strict=True))
            self._send_next()

    def send_content(self, data: bytes) -> None:
        """Send the next piece of the content, cut anywhere. Nothing happens once the transaction is over."""
        if self.wants_content:
            self._send_content(*self._content.feed(data))

    def end_content(self) -> None:
        """Send the end of it, once that is allowed."""
        if self.wants_content:
            self._send_content(*self._content.finish())

    def allow_end(self) -> None:
        """The end of the content may be sent: then the server may have the message, whatever becomes of the rest."""
        if self.wants_content:
            self._send_content(*self._content.open())

    def quit(self) -> None:
        """Take leave, where the session is READY; `Ended` follows with the server's answer."""
        if self.stage is Stage.READY:
            self._send(Stage.QUIT, b"QUIT\r\n")

    # -- What happens to the connection

    def receive(self, data: bytes) -> None:
        """Take bytes from the server, cut anywhere."""
        if self.has_ended or self.stage is Stage.HANDSHAKE:
            return  # before TLS has begun it is in clear, and counts for nothing (RFC 3207 4.2)
        self._parser.feed(data)
        try:
            while not self.has_ended and (reply := self._parser.next_reply()) is not None:
                self.replies += 1
                self._answered(reply)
        except ReplyError as error:
            self._out_of_step(str(error))

    def lost(self, how: str) -> None:
        """The connection is gone; `how` the server ended it: "closed the connection"."""
        self._broken(how)

    def timed_out(self) -> None:
        """The server took too long for the current stage."""
        self._broken("took too long")

    def fail(self, deferral: Deferral) -> None:
        """Give the transaction up for a reason of our own. The caller must close without a final dot."""
        if not self.has_ended:
            self._end(deferral.doubted() if self._in_doubt else deferral, elsewhere=False)

    # -- Replies

    def _answered(self, reply: Reply) -> None:
        stage = self.stage
        if reply.code == 421:  # RFC 5321 3.8: it may come in place of any reply, and unasked
            self._closed_by(reply)
        elif self._output or stage is Stage.READY:
            # What was here before its command was sent answers nothing.
            self._out_of_step(f"a reply to no command: {reply}")
        elif reply.is_positive and reply.code not in WELCOME[stage]:
            self._out_of_step(f"a reply that has no place here: {reply}")
        else:
            if self._due:
                self._due.popleft()
            _ANSWERED[stage](self, reply)

    def _closed_by(self, reply: Reply) -> None:
        judged = judge_reply(reply, self.phase, self.host)
        assert isinstance(judged, Deferral)  # judge_reply: 421 is one
        # After the final dot it says that the message was not taken. Should it be wrong, a second host in the same
        # attempt would make two copies for certain; a later attempt may meet the same host, and its duplicate check.
        self._end(judged, elsewhere=not self._in_doubt)

    def _sender_answered(self, reply: Reply) -> None:
        self._open.sender_answered(reply)
        self._go_on()

    def _recipient_answered(self, reply: Reply) -> None:
        self._open.recipient_answered(reply)
        self._go_on()

    def _go_on(self) -> None:
        """Send the next command of the envelope, where that waits for a reply and still makes sense."""
        if self._due:
            return  # a pipelined group: its other replies are on their way
        progress = self._open
        all_asked = not self._unsent or self._unsent[0][0] is Stage.DATA
        if progress.sender_refused or (all_asked and not progress.accepted):
            self._unsent.clear()
            self._reset()
        elif self._unsent:
            self._send_next()
        else:
            self._invite_content()

    def _data_answered(self, reply: Reply) -> None:
        progress = self._open
        if not reply.is_positive:
            progress.content_refused(reply, Phase.DATA)
            self._reset()
        elif not progress.accepted and not self._lmtp:
            # RFC 2920 3.1: DATA went out with the group, and though every recipient was refused the server wants
            # content. A lone dot ends that; whatever it answers, nothing was delivered.
            self._send(Stage.EMPTY_DOT, b".\r\n")
        elif progress.sender_refused or not progress.accepted:
            # Here a lone dot could deliver an empty message: a server that closes without one drops it. And RFC 2033
            # 4.2 has 503 for DATA without recipients, since no reply could follow its dot.
            self._out_of_step(f"{reply} to DATA, after a refused sender or without recipients")
        else:
            self._invite_content()

    def _invite_content(self) -> None:
        self._resting = Stage.CONTENT
        self._events.append(SendContent(tuple(self._open.accepted)))

    def _content_answered(self, reply: Reply) -> None:
        # RFC 5321 has no reply before the final dot, but a server that is full or has seen enough says so and often
        # closes. Its refusal is meant; only the dialogue can't go on, for we are in the middle of the content.
        self._open.content_refused(reply, Phase.CONTENT)
        self._end(self._trouble(f"{self.host} refused the content before its end: {reply}", "4.5.0"), elsewhere=False)

    def _final_dot_answered(self, reply: Reply) -> None:
        self._content_judged(reply)
        if not self._due:
            self._done()

    def _content_judged(self, reply: Reply) -> None:
        if self._lmtp:
            self._open.content_judged(reply)
        elif reply.is_positive:
            self._open.content_accepted(reply)
        else:
            self._open.content_refused(reply, Phase.END_OF_DATA)

    def _chunk_answered(self, reply: Reply) -> None:
        progress = self._open
        if not reply.is_positive and not progress.content_was_refused:
            # RFC 3030 2: not one chunk more. Those under way will be refused as well, which says nothing new.
            progress.content_refused(reply, Phase.CONTENT)
            self._resting = Stage.READY
        if progress.content_was_refused and not self._due:
            self._reset()

    def _last_chunk_answered(self, reply: Reply) -> None:
        progress = self._open
        if reply.is_positive and (self.wants_content or progress.content_was_refused):
            self._out_of_step(f"{reply} to a last chunk that it can't have taken", in_doubt=True)
            return
        if self.wants_content:
            self._content_answered(reply)  # in the middle of a single chunk, of which it still waits for octets
            return
        self._content_judged(reply)
        if not self._due and progress.content_was_refused:
            self._reset()  # RFC 3030 2: until then the server may be in any state
        elif not self._due:
            self._done()

    def _empty_dot_answered(self, _reply: Reply) -> None:
        self._done()

    def _rset_answered(self, reply: Reply) -> None:
        if reply.is_positive:
            self._done()
        else:
            # RFC 5321 4.1.1.5: it can't be refused, so this answered something else, and so may all before it.
            self._out_of_step(f"{reply} to RSET")

    def _quit_answered(self, reply: Reply) -> None:
        self._end(self._trouble(f"{self.host} said: {reply}", "4.4.2"))

    # -- Steps

    @property
    def _open(self) -> Progress:
        assert self._progress is not None  # the stages that lead here are those of a transaction
        return self._progress

    @property
    def _handover(self) -> Handover:
        if self._lmtp:
            return Handover.FINAL
        return Handover.PASSED_ON if self.capabilities.dsn else Handover.RELAYED

    @property
    def _in_doubt(self) -> bool:
        """Whether the server may have the whole message, and has not said so."""
        return not (self.wants_content or COMPLETING.isdisjoint(self._due))

    def _send_content(self, wire: bytes, stage: Stage | None) -> None:
        if wire:
            self._output.append(wire)
        if self._content.is_complete:
            self._resting = Stage.READY
        if stage is not None:
            # RFC 2033 4.2: in LMTP the end of the content gets a reply for each accepted recipient.
            replies = len(self._open.accepted) if self._lmtp and stage in COMPLETING else 1
            self._due.extend([stage] * replies)

    def _send_next(self) -> None:
        self._send(*self._unsent.popleft())

    def _reset(self) -> None:
        """Clear what the server holds of a transaction that got nowhere (RFC 5321 4.1.1.5)."""
        self._send(Stage.RSET, b"RSET\r\n")

    def _done(self, undecided: tuple[Address, ...] = ()) -> None:
        self._events.append(TransactionDone(self._open.told(), undecided, tuple(self._open.left)))
        self._progress = None

    def _end(self, why: Deferral, *, elsewhere: bool = True) -> None:
        """Nothing more is sent or believed. `elsewhere`: the recipients left over may be tried at another host."""
        self._due.clear()
        self._unsent.clear()
        self._resting = Stage.ENDED
        if self._progress is not None:
            undecided = self._progress.settle_rest(why)
            self._done(undecided if elsewhere else ())
        self._events.append(Ended(why))

    def _broken(self, what: str) -> None:
        """The connection ended on its own, `what` happened."""
        if self.has_ended:
            return
        in_doubt, reason = self._in_doubt, f"{self.host} {what} while {WAITING[self.stage]}"
        self._end(self._trouble(reason, "4.4.2", in_doubt), elsewhere=not in_doubt)

    def _out_of_step(self, what: str, in_doubt: bool = False) -> None:
        in_doubt = in_doubt or self._in_doubt
        trouble = self._trouble(f"{self.host} is out of step: {what}", "4.5.0", in_doubt)
        if self._progress is not None:
            self._progress.distrust()
        self._end(trouble, elsewhere=not in_doubt)

    def _trouble(self, reason: str, enhanced: str, in_doubt: bool = False) -> Deferral:
        # A server that greeted us and then fails on one message may take the next one: only before that is it the site.
        phase = self.phase
        scope = Scope.SITE if phase in (Phase.GREETING, Phase.HELLO) else Scope.MESSAGE
        trouble = Deferral(reason, phase, scope, self.host, enhanced=enhanced)
        return trouble.doubted() if in_doubt else trouble


_ANSWERED: Mapping[Stage, Callable[[ClientSession, Reply], None]] = {
    Stage.GREETING: ClientSession._greeted,
    Stage.EHLO: ClientSession._ehlo_answered,
    Stage.LHLO: ClientSession._ehlo_answered,
    Stage.HELO: ClientSession._helo_answered,
    Stage.STARTTLS: ClientSession._starttls_answered,
    Stage.AUTH: ClientSession._auth_answered,
    Stage.MAIL: ClientSession._sender_answered,
    Stage.RCPT: ClientSession._recipient_answered,
    Stage.DATA: ClientSession._data_answered,
    Stage.CONTENT: ClientSession._content_answered,
    Stage.FINAL_DOT: ClientSession._final_dot_answered,
    Stage.CHUNK: ClientSession._chunk_answered,
    Stage.LAST_CHUNK: ClientSession._last_chunk_answered,
    Stage.EMPTY_DOT: ClientSession._empty_dot_answered,
    Stage.RSET: ClientSession._rset_answered,
    Stage.QUIT: ClientSession._quit_answered,
}

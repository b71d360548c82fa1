"""
One connection of an SMTP client.

Owns: when replies are written: the greeting, delays, idleness, the last words; and the message under way.
Never: knows the grammar or the order of commands (`mta/smtp/server.py`), or decides on a recipient (`mta/policy/`).
Fails: never towards the reactor. A fault of ours is logged and answered 451; the session goes on without its message.

Log lines: ``connection-refused``, ``command-refused`` (one for each 4xx or 5xx), ``connection-closed`` (by us, or in
the middle of a message), ``tls-failed`` (a handshake came to nothing), ``session-transcript`` (the last lines of one
that we closed for its errors), ``fault``. All carry the listener and the client.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.entry import Entry
from mta.envelope import Envelope, Origin
from mta.ids import spell
from mta.policy.verdict import Verdict
from mta.server.answers import answer
from mta.server.budget import within_budget
from mta.server.listener import Listener
from mta.server.login import Login, channel_binding
from mta.server.reception import Reception, apology, described, receive
from mta.server.secure_lines import SecureLineReceiver
from mta.server.sessions import Sessions
from mta.server.transcript import Transcript
from mta.smtp import replies
from mta.smtp.authenticating import LONGEST_LINE
from mta.smtp.commands import Hello, MailFrom
from mta.smtp.questions import Authenticate, EndOfData, Question, Respond, StartChunk, StartData, StartTls
from mta.smtp.server import ServerSession
from mta.smtp.server_reply import ServerReply

# Seconds of silence that an untrusted client is allowed when connections run short (Postfix: smtpd_timeout, stress).
STRESS_IDLE = 10.0

# Why there is no TLS; the log of the daemon says more.
_NO_CERTIFICATE = "no certificate can be used"

# Seconds for the last reply to be taken; then the connection is dropped with what it did not take.
LAST_REPLY = 10.0


class ServerProtocol(SecureLineReceiver):
    """A connection, from the moment it is made; see `mta.server.factory.ServerFactory`."""

    # Defaults of an idle connection, as in PatientLineReceiver.
    _log = Logger()
    _session: ServerSession | None = None
    _reception: Reception | None = None
    _login: Login | None = None
    _timer: IDelayedCall | None = None
    _client = "unknown"
    _trusted = False
    _admitted = False
    _verb = b""
    _transcript: Transcript | None = None

    def __init__(self, listener: Listener, sessions: Sessions) -> None:
        super().__init__(listener.clock, listener.limits.command_line)
        self._listener = listener
        self._sessions = sessions

    # Connection

    def connectionMade(self) -> None:
        super().connectionMade()
        host = getattr(self.wire.getPeer(), "host", None)  # a UNIX address has none
        if isinstance(host, str):
            self._client = host
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)  # replies are small and complete: to hold them back costs a delayed ACK
        self._sessions.join(self)
        listener = self._listener
        self._trusted = listener.policy.is_trusted(self._client)
        verdict = listener.connections.admit(self._client, self._trusted, self.active_at)
        self._admitted = verdict.accepts
        if verdict.reply is not None:
            self._note("connection-refused", reply=str(verdict.reply), reason=verdict.reason)
            self._hang_up(verdict.reply.encode())
        elif self._sessions.stopping:
            self._hang_up_with(replies.SHUTTING_DOWN)
        elif listener.implicit_tls:  # RFC 8314 3.3
            if not self._begin_tls():
                self.handshake_failed(_NO_CERTIFICATE)
                self._hang_up(b"")
        else:
            self._welcome()

    def _welcome(self) -> None:
        """Greet who may relay at once, and others when it is clear that they wait for it."""
        if self._trusted:
            self._greet()
        else:
            # Two turns of the reactor: what the peer has sent before we speak is read between them.
            self._timer = self._listener.clock.callLater(0, self._listen_first)

    def _listen_first(self) -> None:
        self._timer = self._listener.clock.callLater(self._listener.greet_wait(self._trusted), self._greet)

    def _greet(self) -> None:
        listener = self._listener
        self._timer = None
        self.active_at = listener.clock.seconds()
        unwanted = listener.policy.is_refused(self._client)
        self._session = ServerSession(listener.terms, self._trusted, listener.normalizes(self._client), unwanted)
        if self.encryption is not None:
            self._session.secured()
        if listener.terms.closed:
            self._note("connection-refused", reply="521", reason="role closed")
        elif unwanted:
            self._note("connection-refused", reply="554", reason="relay.refused")
        self.wire.write(self._session.greeting())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._reception is not None:
            self._note("connection-closed", reason="lost in the middle of a message")
        self._forget()
        if self._admitted:
            self._listener.connections.leave(self._client)
        self._sessions.leave(self)

    def peer_ended(self) -> None:
        if self._reception is not None:
            self._note("connection-closed", reason="lost in the middle of a message")
        self._hang_up(b"")

    def _forget(self) -> None:
        """Drop everything but a commit that is under way."""
        self.stop_reading()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drop_reception()

    def _hang_up(self, last_words: bytes) -> None:
        self._forget()
        if self._listener.implicit_tls and self.encryption is None:
            last_words = b""  # nobody could read them
        self.close(last_words)

    def _hang_up_with(self, reply: ServerReply) -> None:
        self._hang_up(reply.fill(hostname=self._listener.hostname).encode())

    # Sessions asks

    def look_at_clock(self, now: float) -> None:
        """Close the connection if its peer has been silent, or deaf, for too long; `now` in seconds."""
        if self.closing_at is not None:
            if now - self.closing_at >= LAST_REPLY:
                self.wire.abortConnection()
            return
        if self.handshake_since is not None:
            self.look_at_handshake(now, self._listener.handshake_timeout)
            return
        if self._session is None or self.waiting:
            return
        limit = self._listener.limits.idle_timeout
        # Content may trickle (RFC 5321 4.5.3.2.5 has minutes for a block of it); between commands nobody needs long.
        if self._listener.connections.stressed and not self._trusted and not self.in_content:
            limit = min(limit, STRESS_IDLE)
        if now - self.active_at >= limit:
            self._note("connection-closed", reason=f"idle for {limit:g} s")
            self._hang_up_with(replies.IDLE_TOO_LONG)

    def finish(self) -> None:
        """Close the connection now if no message is under way, else as soon as that is done."""
        session = self._session
        if self.closing_at is None and (session is None or not (session.in_transaction or self.waiting)):
            self._hang_up_with(replies.SHUTTING_DOWN)

    def abort(self) -> None:
        """Close the connection now; a peer that is deaf to its last reply is not waited for any longer."""
        if self.closing_at is None:
            self._hang_up_with(replies.SHUTTING_DOWN)
        else:
            self.wire.abortConnection()

    # Reading

    def handshake_done(self) -> None:
        assert self.encryption is not None
        self._trusted = self._trusted or self.encryption.may_relay
        self.active_at = self._listener.clock.seconds()
        if self._session is None:
            self._welcome()
        else:
            self._session.secured(self._trusted)

    def handshake_failed(self, reason: str) -> None:
        self._note("tls-failed", reason=reason)

    def plain_received(self, data: bytes) -> None:
        if self.closing_at is not None:
            return
        if self._session is None:
            self._note("connection-closed", reason="spoke before the greeting")
            self._hang_up_with(replies.SPOKE_EARLY)
            return
        super().plain_received(data)

    def command_received(self, line: bytes, more: bool) -> None:
        session = self._current
        # No more: an argument may be a password, and so may a response be.
        self._verb = b"AUTH" if session.exchanging else line[:16].partition(b" ")[0]
        if self._transcript is not None:
            self._transcript.said(line, session.exchanging)
        if len(line) > self._listener.limits.command_line - 2 and not (
            session.exchanging or self._verb.upper() == b"AUTH"
        ):
            self.line_too_long(line[:16])
            return
        try:
            asked = session.line(line, more)
            reply = asked if isinstance(asked, bytes) else self._answer(asked)
        except Exception:
            reply = self._fault("a command")
        if self._reception is not None and not session.in_transaction:
            self._drop_reception()  # RSET, say, between two chunks
        if reply is not None:
            self._reply(reply)

    def line_too_long(self, start: bytes) -> None:
        self._verb = b""
        self._reply(self._current.line_too_long(start))

    def content_received(self, data: bytes) -> None:
        session = self._current
        waiting = self._store(session.content(data))
        ended = session.ended
        if waiting is not None:
            self.wait()
        if ended:
            # At once, also when the end has to wait: what the peer sends meanwhile comes behind it.
            self.end_content(session.rest)
        if waiting is not None:
            waiting.addBoth(self._stored, ended)
        elif ended:
            self._end_of_data()

    # Answering

    @property
    def _current(self) -> ServerSession:
        session = self._session
        assert session is not None
        return session

    def _answer(self, question: Question) -> bytes | None:
        """The reply to the command that the question came from; None where it comes later."""
        listener, session = self._listener, self._current
        match question:
            case StartChunk():
                self._start_chunk()
                return None
            case StartData(envelope):
                self._reception = receive(self._listener, self._client, session, envelope, self.encryption)
                self.begin_content()
                return session.answered(None)
            case StartTls():
                return None if self._begin_tls() else session.answered(replies.TLS_UNAVAILABLE.reply)
            case MailFrom() if self._sessions.stopping:
                return session.answered(replies.SHUTTING_DOWN.fill(hostname=listener.hostname))
            case Hello() if session.is_secure and listener.authentication is not None:
                session.binding = channel_binding(self.transport)
            case Authenticate() | Respond():
                self._authenticate(question)
                return None
        verdict = answer(question, listener, self._client, self._trusted, session.sender, session.identity)
        if isinstance(verdict, Deferred):
            self.wait()
            verdict = within_budget(verdict, listener, self._log_failure)
            verdict.addCallback(self._decided)
            verdict.addErrback(self._log_failure)
            return None
        return session.answered(verdict.reply, verdict.recipients, verdict.expanded)

    def _begin_tls(self) -> bool:
        """Begin TLS, behind the yes to the question whether we can where there is one; whether we can."""
        tls = self._listener.tls
        connection = None if tls is None else tls.connection(self.peer_closed)
        if tls is None or connection is None:
            return False
        if self._session is not None:
            self.wire.write(self._session.answered(None))
        self.begin_tls(tls, connection)
        return True

    def _authenticate(self, question: Authenticate | Respond) -> None:
        self.wait()
        if self._login is None:
            self._login = Login(self._listener, self._client, self._trusted)
        stepped = self._login.step(question, self._current)
        stepped.addCallback(lambda step: self._reply(self._current.authenticated(step)))
        stepped.addErrback(self._log_failure)

    def _start_chunk(self) -> None:
        """Make a place for the content with the first chunk, and take the octets of this one."""
        session = self._current
        if self._reception is None and not session.condemned:
            try:
                self._reception = receive(self._listener, self._client, session, session.envelope, self.encryption)
            except Exception:
                self._report_fault("a chunk")
                session.spoil()
        if session.ended:
            self._end_of_data()
        else:
            self.begin_content()

    def _decided(self, verdict: Verdict) -> None:
        self._reply(self._current.answered(verdict.reply, verdict.recipients, verdict.expanded))

    def _reply(self, wire: bytes) -> None:
        """Send the reply to the command or the content that was handled last; after too many errors, a bit later."""
        if self.closing_at is not None:
            return
        session = self._current
        if session.refusal is not None:
            kind = "connection-closed" if session.closed else "command-refused"
            self._note(kind, command=_printable(self._verb), reply=str(session.refusal))
            if self._transcript is None:
                self._transcript = Transcript()
        if self._transcript is not None:
            self._transcript.replied(wire)
            if session.closed and session.refusal is not None:
                self._note("session-transcript", lines=str(self._transcript))
        delay = self._listener.limits.error_delay
        if session.slow and delay > 0 and not session.closed:
            self.wait()
            self._timer = self._listener.clock.callLater(delay, self._reply_late, wire)
        else:
            self._send(wire)

    def _reply_late(self, wire: bytes) -> None:
        self._timer = None
        self._send(wire)

    def _send(self, wire: bytes) -> None:
        session = self._current
        if session.closed:
            self._hang_up(wire)
            return
        self.wire.write(wire)
        longest = self._listener.limits.command_line
        self.MAX_LENGTH = (max(LONGEST_LINE, longest) if session.takes_long_line else longest) - 2
        if self._sessions.stopping and not session.in_transaction:
            self._hang_up_with(replies.SHUTTING_DOWN)
        else:
            self.go_on()

    # The message under way

    def _store(self, content: bytes) -> Deferred[None] | None:
        """Pass content on to the spool, unless the message will be refused; a Deferred asks to wait for it."""
        reception, session = self._reception, self._current
        if session.condemned:
            self._drop_reception()
        elif reception is not None:
            try:
                return reception.write(content)
            except Exception as fault:
                self._report_fault("content")
                session.spoil(apology(fault))
                self._drop_reception()
        return None

    def _stored(self, _result: object, ended: bool) -> None:
        if self.closing_at is not None:
            return
        if ended:
            self._end_of_data()
        else:
            self.go_on()

    def _end_of_data(self) -> None:
        self._verb = b"."
        session, reception = self._current, self._reception
        try:
            if reception is None:
                asked = session.end_of_data(0)
            else:
                asked = session.end_of_data(reception.hops, reception.header_too_large, reception.too_deep)
            if isinstance(asked, EndOfData):
                assert reception is not None
                self._commit(reception, asked.envelope)
                return
            reply = asked
        except Exception:
            reply = self._fault("the end of a message")
        if not session.in_transaction:  # behind a chunk, more may come
            self._drop_reception()
        self._reply(reply)

    def _commit(self, reception: Reception, envelope: Envelope) -> None:
        """Make the message durable; nothing is said and nothing is read before that is known."""
        listener, session = self._listener, self._current
        claim = listener.queue.wants_claim()
        details = described(self.encryption)
        if session.identity is not None:
            details["user"] = session.identity.user
        origin = Origin(self._client, session.helo, listener.name, session.protocol, details)
        committed = reception.commit(envelope, origin, listener.clock.seconds(), claim)
        self._reception = None
        self.wait()
        committed.addCallbacks(self._committed, self._not_committed, callbackArgs=(claim,))
        committed.addErrback(self._log_failure)

    def _committed(self, entry: Entry, claim: bool) -> None:
        # The message is ours now, whatever happens here and whether the peer is still there or not.
        try:
            self._listener.queue.accepted(entry, claim)
        except Exception:
            self._report_fault("a message that is safe in the spool")
        self._reply(self._current.queued(spell(entry.message)))

    def _not_committed(self, failure: Failure) -> None:
        self._note("fault", where="the spool", reason=f"{type(failure.value).__name__}: {failure.value}")
        self._reply(self._current.failed(apology(failure.value)))

    def _drop_reception(self) -> None:
        reception, self._reception = self._reception, None
        if reception is not None:
            reception.abort()

    # Faults of ours

    def _fault(self, where: str) -> bytes:
        """Log the exception that is being handled, forget the message; the reply."""
        self._report_fault(where)
        self._drop_reception()
        self.end_content()
        return self._current.failed()

    def _report_fault(self, where: str) -> None:
        self._log_failure(Failure(), where)

    def _log_failure(self, failure: Failure, where: str = "a reply") -> None:
        self._log.failure("fault while handling {where}", failure=failure, where=where)
        self._note("fault", where=where, reason=f"{type(failure.value).__name__}: {failure.value}")

    def _note(self, kind: str, **fields: str) -> None:
        session = self._session
        helo = session.helo if session is not None else ""
        self._listener.log(kind, {"listener": self._listener.name, "client": self._client, "helo": helo, **fields})


def _printable(verb: bytes) -> str:
    return verb.decode("ascii", "backslashreplace")

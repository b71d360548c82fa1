"""
One connection of an SMTP client.

Owns: when replies are written: the greeting, delays, idleness, the last words.
Never: knows the grammar or the order of commands (`mta/smtp/server.py`), decides on a recipient (`mta/policy/`), or
takes content (`mta/server/intake.py`).
Fails: never towards the reactor; a fault of ours is logged and answered 451.

Log lines: ``connection-refused``, ``command-refused`` (one for each 4xx or 5xx), ``connection-closed`` (by us, or in
the middle of a message), ``tls-failed`` (a handshake came to nothing), ``session-transcript`` (the last lines of one
that we closed for its errors), ``xclient`` (and what it said), ``fault``. All carry the listener and the client, and
the proxy where there is one.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from mta.policy.verdict import Verdict
from mta.server.answers import answer
from mta.server.budget import within_budget
from mta.server.intake import Intake
from mta.server.listener import Listener
from mta.server.login import Login, channel_binding
from mta.server.sessions import Sessions
from mta.server.transcript import Transcript
from mta.server.via import Via
from mta.smtp import replies
from mta.smtp.authenticating import LONGEST_LINE
from mta.smtp.commands import Hello, MailFrom
from mta.smtp.questions import Authenticate, Question, Respond, StartChunk, StartData, StartTls
from mta.smtp.server_reply import ServerReply
from mta.smtp.xclient import Xclient

# Seconds of silence that an untrusted client is allowed when connections run short (Postfix: smtpd_timeout, stress).
STRESS_IDLE = 10.0

# Why there is no TLS; the log of the daemon says more.
_NO_CERTIFICATE = "no certificate can be used"

# Seconds for the last reply to be taken; then the connection is dropped with what it did not take.
LAST_REPLY = 10.0


class ServerProtocol(Intake):
    """A connection, from the moment it is made; see `mta.server.factory.ServerFactory`."""

    # Defaults of an idle connection, as in PatientLineReceiver.
    _login: Login | None = None
    _timer: IDelayedCall | None = None
    _transcript: Transcript | None = None

    def __init__(self, listener: Listener, sessions: Sessions, via: Via | None = None) -> None:
        super().__init__(listener, via)
        self._sessions = sessions

    # Connection

    def connectionMade(self) -> None:
        super().connectionMade()
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)  # replies are small and complete: to hold them back costs a delayed ACK
        self._sessions.join(self)
        refusal = self._admit()
        if refusal is not None:
            self._hang_up(refusal.encode())
        elif self._sessions.stopping:
            self._hang_up_with(replies.SHUTTING_DOWN)
        elif self._listener.implicit_tls:  # RFC 8314 3.3
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
        self._timer = None
        self.active_at = self._listener.clock.seconds()
        self.wire.write(self._begin_session())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._reception is not None:
            self._note("connection-closed", reason="lost in the middle of a message")
        self._forget()
        self._leave()
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
        self._trusted = self._trusted or self._certified
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

    # Answering

    def _answer(self, question: Question) -> bytes | None:
        """The reply to the command that the question came from; None where it comes later."""
        listener, session = self._listener, self._current
        match question:
            case StartChunk():
                self._start_chunk()
                return None
            case Xclient():
                self._login = None  # what comes next is tried by somebody else
                return self._begin_anew(session, question)
            case StartData(envelope):
                self._start_data(envelope)
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
            self._login = Login(self._listener, self._client, self._trusted, self._proxied)
        stepped = self._login.step(question, self._current)
        stepped.addCallback(lambda step: self._reply(self._current.authenticated(step)))
        stepped.addErrback(self._log_failure)

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


def _printable(verb: bytes) -> str:
    return verb.decode("ascii", "backslashreplace")

"""
The message that a connection has under way.

Owns: its way from DATA, or the first chunk, into the spool; and what our own faults do to it.
Never: sends a reply: it hands that to `_reply`.
Fails: never towards the reactor. A fault of ours is logged and answered 451; the session goes on without its message.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.entry import Entry
from mta.envelope import Envelope, Origin
from mta.ids import spell
from mta.server.admission import Admission
from mta.server.reception import Reception, apology, described, receive
from mta.smtp.questions import EndOfData
from mta.smtp.server import ServerSession


class Intake(Admission):
    """A connection that takes content; `_verb` is the command whose reply comes next."""

    # Defaults of an idle connection, as in PatientLineReceiver.
    _log = Logger()
    _reception: Reception | None = None
    _verb = b""

    @property
    def _current(self) -> ServerSession:
        session = self._session
        assert session is not None
        return session

    def _reply(self, wire: bytes) -> None:
        """Send the reply to the command or the content that was handled last."""
        raise NotImplementedError

    def _start_data(self, envelope: Envelope) -> None:
        """Make a place for the content that follows DATA."""
        self._reception = self._receive(envelope)
        self.begin_content()

    def _start_chunk(self) -> None:
        """Make a place for the content with the first chunk, and take the octets of this one."""
        session = self._current
        if self._reception is None and not session.condemned:
            try:
                self._reception = self._receive(session.envelope)
            except Exception:
                self._report_fault("a chunk")
                session.spoil()
        if session.ended:
            self._end_of_data()
        else:
            self.begin_content()

    def _receive(self, envelope: Envelope) -> Reception:
        return receive(self._listener, self._client, self._current, envelope, self.encryption, self._name)

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
        details = {**self._proxied, **described(self.encryption)}
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

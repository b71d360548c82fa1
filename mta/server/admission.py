"""
Whose connection it is: the address that counts, and what it may do.

Owns: the client of a connection, its place among the connections, the session that it gets; and what XCLIENT changes.
Never: knows when a session begins or ends (`mta/server/protocol.py`), or how a limit is kept (`mta/policy/limits.py`).
Fails: never.
"""

from __future__ import annotations

from mta.reply import Reply
from mta.server.listener import Listener
from mta.server.secure_lines import SecureLineReceiver
from mta.server.via import Via, substituted
from mta.smtp.server import ServerSession
from mta.smtp.xclient import Xclient


class Admission(SecureLineReceiver):
    """A connection that knows its client; `via` where that is not who has connected."""

    # Defaults of an idle connection, as in PatientLineReceiver.
    _session: ServerSession | None = None
    _client = "unknown"
    _trusted = False
    _admitted = False
    _via: Via | None = None

    def __init__(self, listener: Listener, via: Via | None) -> None:
        super().__init__(listener.clock, listener.limits.command_line)
        self._listener = listener
        if via is not None:
            self._via, self._client = via, via.client

    def connectionMade(self) -> None:
        super().connectionMade()
        if self._via is None:
            host = getattr(self.wire.getPeer(), "host", None)  # a UNIX address has none
            if isinstance(host, str):
                self._client = host

    @property
    def _name(self) -> str | None:
        """The host name that a proxy gave for the client."""
        return (self._via.name or None) if self._via is not None else None

    @property
    def _proxied(self) -> dict[str, str]:
        """The field of events and log lines that names the proxy, where there is one."""
        return {} if self._via is None else {"proxy": self._via.proxy}

    @property
    def _certified(self) -> bool:
        """Whether the client may relay for its certificate; that of a peer of XCLIENT is not the named client's."""
        substituted = self._via is not None and self._via.substituted
        return self.encryption is not None and self.encryption.may_relay and not substituted

    @property
    def _may_substitute(self) -> bool:
        """Whether the client may say that it is another one; who has done so stays the peer that may."""
        peers, via = self._listener.xclient, self._via
        if peers is None or via is None:
            return peers is not None and peers.contains(self._client)
        return via.substituted or (via.known and peers.contains(self._client))

    def _admit(self) -> Reply | None:
        """Judge the client by its address; the reply that sends it away."""
        listener = self._listener
        self._trusted = self._trusted_by_address()
        verdict = listener.connections.admit(self._client, self._trusted, self.active_at)
        self._admitted = verdict.accepts
        if verdict.reply is not None:
            self._note("connection-refused", reply=str(verdict.reply), reason=verdict.reason)
        return verdict.reply

    def _trusted_by_address(self) -> bool:
        return (self._via is None or self._via.known) and self._listener.policy.is_trusted(self._client)

    def _leave(self) -> None:
        """Give the client's place back."""
        if self._admitted:
            self._admitted = False
            self._listener.connections.leave(self._client)

    def _begin_session(self) -> bytes:
        """A new session, within the TLS that there is; its greeting."""
        listener, client = self._listener, self._client
        unwanted = listener.policy.is_refused(client)
        session = ServerSession(listener.terms, self._trusted, listener.normalizes(client), unwanted)
        session.may_substitute = self._may_substitute
        if self.encryption is not None:
            session.secured()
        self._session = session
        if listener.terms.closed:
            self._note("connection-refused", reply="521", reason="role closed")
        elif unwanted:
            self._note("connection-refused", reply="554", reason="relay.refused")
        return session.greeting()

    def _begin_anew(self, session: ServerSession, asked: Xclient) -> bytes:
        """
        Go on as if the client that XCLIENT names in `session` had connected; the reply.

        Of the old session nothing is left, whoever has logged in included. TLS is that of the connection and stays.
        """
        via = substituted(asked, self._client, self._via)
        moves = via.client != self._client
        if moves:
            self._leave()
        self._via, self._client = via, via.client
        self._note("xclient", **{**asked.known, "helo": asked.helo or session.helo})
        if moves:
            refusal = self._admit()
            if refusal is not None:
                return session.answered(refusal)
        else:
            # The same client needs no second place, and has not connected again; its certificate counts no more.
            self._trusted = self._trusted_by_address()
        greeting = self._begin_session()
        assert self._session is not None
        self._session.substitute(asked)
        return greeting

    def _note(self, kind: str, **fields: str) -> None:
        """A line in the log."""
        session = self._session
        helo = session.helo if session is not None else ""
        where = {"listener": self._listener.name, "client": self._client, "helo": helo}
        self._listener.log(kind, {**where, **fields, **self._proxied})

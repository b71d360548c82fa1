"""
The client's side of a connection until it is ready for mail: greeting, EHLO, STARTTLS, EHLO anew,
AUTH.

Owns: whether TLS is asked for, what is forgotten when it begins, what it means where there is none.
Never: sees a certificate (`mta/tls/`), or a transaction (`mta/smtp/client.py` goes on from here).
Fails: never for what a server sends.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from mta.login import Login
from mta.outcome import Deferral, Phase, Scope, judge_reply
from mta.reply import Reply
from mta.smtp.capabilities import Capabilities, capabilities_from
from mta.smtp.client_auth import Channel, exchange_for
from mta.smtp.client_events import ClientEvent, Ready, StartTls
from mta.smtp.client_stage import Stage
from mta.smtp.exchange import Exchange, ExchangeError
from mta.smtp.reply_parser import ReplyParser

# RFC 4954 4: an initial response goes with the command where the line has room for it (RFC 5321 4.5.3.1.4).
_MAX_COMMAND = 512


class Encryption(Enum):
    """When a session begins TLS."""

    NEVER = "never"
    IF_OFFERED = "if offered"  # else it goes on in clear
    DEMANDED = "demanded"  # else it ends
    IMPLICIT = "implicit"  # before the greeting (RFC 8314 3.3)


@dataclass(frozen=True, slots=True)
class TlsWish:
    """
    What a session does about TLS; `why` tells people who wants that: "domain: verify". "": not worth a word.

    With `requiretls` the server must offer REQUIRETLS as well, and lacks what it takes for good where it says so.
    """

    use: Encryption = Encryption.NEVER
    why: str = ""
    requiretls: bool = False


NO_WISH = TlsWish()


class Opening:
    """
    The first part of `ClientSession`, which has the other one.

    `tls` says in words what protects the connection, or why nothing does; `is_encrypted` whether something does.
    `tls_refused` is the reason where TLS was offered and then refused, "" else.
    """

    def __init__(self, hello: str, host: str, lmtp: bool, wish: TlsWish, login: Login | None, nonce: str) -> None:
        if not (hello.isascii() and hello.isprintable()):
            raise ValueError(f"{hello!r} is no name for EHLO")
        self.host = host
        self.capabilities = Capabilities()
        self.is_encrypted = False
        self.tls = f"none ({wish.why})" if wish.why else ""
        self.tls_refused = ""
        self.greeted_as = ""  # the name in the greeting, a stranger's word
        self._hello = hello
        self._lmtp = lmtp
        self._wish = wish
        self._login = login
        self._nonce = nonce
        self._binding: bytes | None = None
        self._exchange: Exchange | None = None
        self._withheld: bytes | None = None  # what is said first, and had no room in the command
        self._parser = ReplyParser()
        self._output: list[bytes] = []
        self._events: deque[ClientEvent] = deque()
        # The replies that are due, in order (RFC 2920 3.1: one for each command of a group).
        self._due: deque[Stage] = deque((Stage.GREETING,))
        if wish.use is Encryption.IMPLICIT:
            self._start_tls()

    # -- What the shell tells

    def secured(self, words: str, binding: bytes | None = None) -> None:
        """
        The handshake is over and the server is who it should be: "TLSv1.3 verified (domain)".

        `binding` is what both ends of the connection know and nobody else does, where there is that.
        """
        if self._due and self._due[0] is Stage.HANDSHAKE:
            self.is_encrypted = True
            self._binding = binding
            self.tls = words
            self._due.clear()
            if self._wish.use is Encryption.IMPLICIT:
                self._due.append(Stage.GREETING)
            else:
                self._say_hello()  # RFC 3207 4.2: what was known is forgotten, our name included

    def tls_failed(self, reason: str, *, judged: bool = False) -> None:
        """The handshake came to nothing, the server is somebody else (`judged`), or the encrypted connection broke."""
        # With TLS 1.3 a server's last word on the handshake may come when we think that it is over.
        if self._due and self._due[0] in (Stage.HANDSHAKE, Stage.EHLO, Stage.LHLO):
            self._end(self._no_tls(f"TLS with {self.host} failed: {reason}", "4.7.5", lasts=judged))
        else:
            self._broken(f"broke TLS off ({reason})")

    # -- Replies

    def _greeted(self, reply: Reply) -> None:
        if reply.is_positive:
            self.greeted_as = reply.lines[0].partition(" ")[0][:255]
            self._say_hello()
        else:
            self._turned_away(reply, Phase.GREETING)

    def _say_hello(self) -> None:
        stage = Stage.LHLO if self._lmtp else Stage.EHLO
        self._send(stage, f"{stage.value} {self._hello}\r\n".encode("ascii"))

    def _ehlo_answered(self, reply: Reply) -> None:
        if reply.is_positive:
            offers = capabilities_from(reply)
            # Who delivers to mailboxes passes no requests on (RFC 3461 5.2.3): the reports stay with us.
            self.capabilities = replace(offers, dsn=False) if self._lmtp else offers
            self._hello_is_over()
        elif reply.is_permanent and not self._lmtp:  # RFC 5321 3.2: a server from before the extensions
            self._send(Stage.HELO, f"HELO {self._hello}\r\n".encode("ascii"))
        else:
            self._turned_away(reply, Phase.HELLO)

    def _helo_answered(self, reply: Reply) -> None:
        if reply.is_positive:
            self._hello_is_over()
        else:
            self._turned_away(reply, Phase.HELLO)

    def _hello_is_over(self) -> None:
        use = self._wish.use
        if self.is_encrypted and self._wish.requiretls and not self.capabilities.requiretls:
            # RFC 8689 4.2.1: only the answer within TLS counts. Other mail may go there; this connection was for ours.
            why = f"{self.host} does not offer REQUIRETLS"
            self._leave(Deferral(why, Phase.TLS, Scope.MESSAGE, self.host, enhanced="4.7.30", ends_as="5.7.30"))
        elif use is Encryption.NEVER or self.is_encrypted:
            self._say_who_we_are()
        elif self.capabilities.starttls:
            self._send(Stage.STARTTLS, b"STARTTLS\r\n")
        elif use is Encryption.IF_OFFERED:
            self.tls = "none (not offered)"
            self._say_who_we_are()
        else:
            self._leave(self._no_tls(f"{self.host} does not offer STARTTLS", "4.7.4", lasts=True))

    def _starttls_answered(self, reply: Reply) -> None:
        if reply.is_positive:
            self._start_tls()
        elif self._wish.use is Encryption.IF_OFFERED:
            # RFC 3207 4.1: the client decides whether to go on. Nothing has changed, so what was offered still holds.
            self.tls_refused = f"STARTTLS refused: {reply}"
            self.tls = f"none ({self.tls_refused})"
            self._say_who_we_are()
        else:
            refused = self._no_tls(f"{self.host} refused STARTTLS: {reply}", "4.7.4", lasts=reply.is_permanent)
            self._leave(replace(refused, reply=reply))

    def _say_who_we_are(self) -> None:
        if self._login is None:
            self._events.append(Ready())
            return
        # A password in clear is for who has said that there shall be no TLS; to have been offered none is no such word.
        may_tell = self.is_encrypted or self._wish.use is Encryption.NEVER
        channel = Channel(self._binding, may_tell, self._nonce)
        exchange = self._exchange = exchange_for(self._login, self.capabilities.auth, channel)
        if exchange is None:
            offered = ", ".join(self.capabilities.auth) or "none"
            self._leave(self._not_let_in(f"{self.host} offers no AUTH mechanism that we use here ({offered})", "4.7.4"))
            return
        command, said = f"AUTH {exchange.mechanism}".encode("ascii"), exchange.initial()
        line = command + b" " + (b64encode(said or b"") or b"=") + b"\r\n"
        if said is None or len(line) > _MAX_COMMAND:
            self._withheld, line = said, command + b"\r\n"
        self._send(Stage.AUTH, line)

    def _auth_answered(self, reply: Reply) -> None:
        assert self._login is not None
        assert self._exchange is not None  # the stage is that of a login
        how = f"{self._login.user} (AUTH {self._exchange.mechanism})"
        if reply.code == 334:
            self._challenged(reply)
        elif reply.code == 235 and self._exchange.is_complete:
            self._exchange = None
            self._events.append(Ready())
        elif reply.is_positive:
            self._leave(self._not_let_in(f"{self.host} is out of step: {reply} in the middle of {how}", "4.5.0"))
        elif reply.is_transient:  # RFC 4954 6: 454, it can't tell now
            why = f"{self.host} can't tell who we are: {reply}"
            self._leave(Deferral(why, Phase.AUTH, Scope.SITE, self.host, reply, reply.enhanced or "4.7.0"))
        else:
            told = f" ({self._exchange.told})" if self._exchange.told else ""
            why = f"{self.host} rejected our credentials for {how}: {reply}{told}"
            self._leave(replace(self._not_let_in(why, "4.7.8"), reply=reply))

    def _challenged(self, reply: Reply) -> None:
        assert self._login is not None
        assert self._exchange is not None
        try:
            said, self._withheld = self._withheld, None
            if said is None:
                said = self._exchange.respond(reply.text)
        except ExchangeError as error:
            self._output.append(b"*\r\n")  # RFC 4954 4: it ends the exchange
            how = f"AUTH {self._exchange.mechanism} for {self._login.user}"
            self._leave(self._not_let_in(f"{how} at {self.host} came to nothing: {error}", "4.7.8"))
            return
        self._send(Stage.AUTH, b64encode(said) + b"\r\n")

    def _not_let_in(self, why: str, enhanced: str) -> Deferral:
        # What we are told to say is wrong, and no message must pay for it: a fault of our own never expires.
        return Deferral(why, Phase.AUTH, Scope.OURSELVES, self.host, enhanced=enhanced)

    def _start_tls(self) -> None:
        # RFC 3207 4.2: nothing that came in clear counts any more. Whatever stands behind the 220 in our buffer was put
        # there by somebody who wants it to be taken for the server's encrypted words (CVE-2011-0411).
        self._parser = ReplyParser()
        self.capabilities = Capabilities()
        self._due.clear()
        self._due.append(Stage.HANDSHAKE)
        self._events.append(StartTls())

    def _turned_away(self, reply: Reply, phase: Phase) -> None:
        judged = judge_reply(reply, phase, self.host)
        assert isinstance(judged, Deferral)  # judge_reply: the refusal of all mail is no refusal of this one
        self._leave(judged)

    # -- Steps

    def _send(self, stage: Stage, command: bytes) -> None:
        self._output.append(command)
        self._due.append(stage)

    def _leave(self, why: Deferral) -> None:
        self._output.append(b"QUIT\r\n")  # RFC 5321 3.1: a server that says 554 waits for it
        self._end(why)

    def _no_tls(self, what: str, enhanced: str, *, lasts: bool) -> Deferral:
        """
        Why the connection is not encrypted, and whether that `lasts`. It speaks of this mail alone: other mail may do
        without.
        """
        demanded = self._wish.use in (Encryption.DEMANDED, Encryption.IMPLICIT)
        reason = f"{what}; TLS is demanded ({self._wish.why})" if demanded else what
        ends_as = "5.7.10" if lasts and self._wish.requiretls else ""  # RFC 8689 4.2.1
        return Deferral(reason, Phase.TLS, Scope.MESSAGE, self.host, enhanced=enhanced, ends_as=ends_as)

    # -- What the rest of the session does

    def _end(self, why: Deferral, *, elsewhere: bool = True) -> None:
        raise NotImplementedError

    def _broken(self, what: str) -> None:
        raise NotImplementedError

"""
What became of a recipient in one attempt.

Owns: the three outcomes and the one function that turns a reply or an exception into one of them.
Never: schedules, bounces or logs.
Fails: never. Anything unknown, our own faults included, is a deferral: a bounce is spelled out, never a fallback.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from mta.reply import Reply

# RFC 1047: what nobody can know when a connection ends between the final dot and its reply.
DOUBT = "; in doubt: the message may have been delivered"


class Phase(Enum):
    """Where in an attempt something happened."""

    ROUTE = "route"
    DNS = "dns"
    CONNECT = "connect"
    GREETING = "greeting"
    HELLO = "hello"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    END_OF_DATA = "end-of-data"
    STORE = "store"
    QUEUE = "queue"


class Scope(Enum):
    """Whom a deferral speaks of: it decides who else has to wait."""

    SITE = "site"  # nobody there answered as a mail server: everything for the site waits
    MESSAGE = "message"
    RECIPIENT = "recipient"
    OURSELVES = "ourselves"  # our own fault or our resolver's: says nothing about the peer


class Handover(Enum):
    """To whom a recipient was handed, and so who reports on it from here (RFC 3461 5.2)."""

    FINAL = "final"  # a mailbox: nobody after us
    PASSED_ON = "passed on"  # a next hop with DSN, which was told what the sender wants
    RELAYED = "relayed"  # a next hop without: the last that will be heard of it


@dataclass(frozen=True, slots=True)
class Delivered:
    """
    A next hop or a mailbox has it for good. `host` is "name[ip]:port" or the mailbox; `reply` the peer's words; `tls`
    what protected the connection, or why nothing did: "TLSv1.3 verified (domain)", "none (not offered)"; `choice` which
    of several next hops it was and why.
    """

    host: str
    reply: Reply | None = None
    phase: Phase = Phase.END_OF_DATA
    kind: Handover = Handover.FINAL
    tls: str = ""
    choice: str = ""


@dataclass(frozen=True, slots=True)
class Deferral:
    """
    Not now. `reason` is a sentence for people; `reply` is the peer's reply, where one is the cause;
    `tls` and `choice` as in `Delivered`.

    `in_doubt`: the peer may have taken the message, for the end of it was sent and no reply came (RFC 1047). `ends_as`
    is the enhanced code of a failure where waiting would not help: where every host says so the message has failed.
    """

    reason: str
    phase: Phase
    scope: Scope = Scope.RECIPIENT
    host: str | None = None
    reply: Reply | None = None
    enhanced: str = "4.0.0"
    in_doubt: bool = False
    tls: str = ""
    ends_as: str = ""
    choice: str = ""

    def doubted(self) -> Deferral:
        """The same of somebody who may have taken the message."""
        return replace(self, reason=f"{self.reason}{DOUBT}", in_doubt=True)

    def undoubted(self) -> Deferral:
        """The same of somebody who can't have taken it."""
        return replace(self, reason=self.reason.removesuffix(DOUBT), in_doubt=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """Never. The sender must be told. Fields as in `Deferral`."""

    reason: str
    phase: Phase
    host: str | None = None
    reply: Reply | None = None
    enhanced: str = "5.0.0"
    choice: str = ""


Outcome = Delivered | Deferral | Failure

# The enhanced code for a peer's reply that carries none, by where it came (RFC 3463 3).
_SUBJECT = {
    Phase.MAIL: "1.0",
    Phase.RCPT: "1.0",
    Phase.END_OF_DATA: "6.0",
    Phase.CONTENT: "6.0",
    Phase.GREETING: "3.0",
    Phase.HELLO: "5.0",
}


def judge_reply(reply: Reply, phase: Phase, host: str) -> Deferral | Failure:
    """
    The outcome of a reply that is not the one hoped for.

    Only a 5xx to MAIL, RCPT, DATA or the content is a `Failure`. A 5xx greeting or hello speaks of the host, not of the
    message: RFC 5321 3.8 lets another MX take it, so it is a deferral of the site. 2xx and 3xx where they do not
    belong mean that the dialogue is out of step, and that is a deferral too.
    """
    about_host = phase in (Phase.CONNECT, Phase.GREETING, Phase.HELLO) or reply.code == 421
    scope = Scope.SITE if about_host else Scope.RECIPIENT if phase is Phase.RCPT else Scope.MESSAGE
    if reply.is_permanent and not about_host:
        enhanced = reply.enhanced or f"5.{_SUBJECT.get(phase, '0.0')}"
        return Failure(f"{host} said: {reply}", phase, host, reply, enhanced)
    enhanced = reply.enhanced if reply.enhanced and reply.is_transient else f"4.{_SUBJECT.get(phase, '0.0')}"
    return Deferral(f"{host} said: {reply}", phase, scope, host, reply, enhanced)


def judge_exception(error: BaseException, phase: Phase, host: str | None = None) -> Deferral:
    """The outcome of a fault of our own: always a deferral (DESIGN: our bugs never bounce mail)."""
    reason = f"internal error: {type(error).__name__}: {error}"
    return Deferral(reason, phase, Scope.OURSELVES, host, None, "4.3.0")

"""
The terms of a listener: what it tells every client, and what it holds every session to.

Owns: the limits of a session as the protocol sees them, and the replies that are the same for all sessions.
Never: counts anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.extensions import keywords

# What needs a TLS connection to be bound to ends so (RFC 5802 4).
_PLUS = "-PLUS"


@dataclass(frozen=True, slots=True)
class Terms:
    """
    `message_size` and `text_line` are octets, all others are counts, as in `mta.policy.limits.ServerLimits`.

    `lmtp` where the listener speaks LMTP (RFC 2033), `etrn` where ETRN is offered, `closed` where it takes no mail from
    anybody (RFC 7504 3), `starttls` where TLS may begin, `requiretls` where a sender within TLS may require it from
    here on (RFC 8689). `mechanisms` of AUTH in the order they are told, `auth_in_clear` where they are offered without
    TLS, too (RFC 4954). `xclient` where some clients may use XCLIENT. `greeting` and `helo` are replies ready for the
    wire, as are those of `hello`.
    """

    hostname: str
    message_size: int
    text_line: int
    hops: int
    recipients: int
    expanded_recipients: int
    messages_per_session: int
    errors_soft: int
    errors_hard: int
    junk_commands: int
    lmtp: bool = False
    etrn: bool = False
    closed: bool = False
    starttls: bool = False
    requiretls: bool = False
    mechanisms: tuple[str, ...] = ()
    auth_in_clear: bool = False
    xclient: bool = False
    greeting: bytes = field(init=False)
    helo: bytes = field(init=False)
    _hellos: dict[tuple[bool, bool, bool], bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        greeting = replies.GREETING_LMTP if self.lmtp else replies.GREETING
        if self.closed:
            greeting = replies.CLOSED_GREETING
        object.__setattr__(self, "greeting", greeting.fill(hostname=self.hostname).encode())
        object.__setattr__(self, "helo", replies.HELLO.fill(hostname=self.hostname).encode())
        both = (False, True)
        hellos = {kind: self._hello(*kind) for kind in product(both, both, both)}
        object.__setattr__(self, "_hellos", hellos)

    def hello(self, trusted: bool, secure: bool, bound: bool = False) -> bytes:
        """
        The reply to EHLO or LHLO: to clients that may relay (`trusted`), and within TLS (`secure`).

        `bound` where AUTH may be bound to the TLS connection.
        """
        return self._hellos[trusted, secure, bound]

    def offered(self, secure: bool, bound: bool) -> tuple[str, ...]:
        """The mechanisms that a client may use, `secure` and `bound` as in `hello`."""
        if not (secure or self.auth_in_clear):
            return ()
        return tuple(name for name in self.mechanisms if bound or not name.endswith(_PLUS))

    def _hello(self, trusted: bool, secure: bool, bound: bool) -> bytes:
        offered = keywords(
            self.message_size,
            self.recipients,
            None if trusted else self.messages_per_session,  # who may send any number is not told a MAILMAX
            expands=trusted,
            etrn=self.etrn,
            starttls=self.starttls and not secure,  # RFC 3207 4.2: not once it is active
            requiretls=self.requiretls and secure,  # RFC 8689 2: what comes in clear can't ask for it
            mechanisms=self.offered(secure, bound),
        )
        return Reply(replies.HELLO.code, (self.hostname, *offered)).encode()

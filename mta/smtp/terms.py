"""
The terms of a listener: what it tells every client, and what it holds every session to.

Owns: the limits of a session as the protocol sees them, and the replies that are the same for all sessions.
Never: counts anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mta.reply import Reply
from mta.smtp import replies
from mta.smtp.extensions import keywords


@dataclass(frozen=True, slots=True)
class Terms:
    """
    `message_size` and `text_line` are octets, all others are counts, as in `mta.policy.limits.ServerLimits`.

    `lmtp` where the listener speaks LMTP (RFC 2033), `etrn` where ETRN is offered, `closed` where it takes no mail from
    anybody (RFC 7504 3). `greeting`, `helo`, `ehlo` and
    `ehlo_trusted`, of clients that may relay, are replies ready for the wire.
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
    greeting: bytes = field(init=False)
    helo: bytes = field(init=False)
    ehlo: bytes = field(init=False)
    ehlo_trusted: bytes = field(init=False)

    def __post_init__(self) -> None:
        greeting = replies.GREETING_LMTP if self.lmtp else replies.GREETING
        if self.closed:
            greeting = replies.CLOSED_GREETING
        object.__setattr__(self, "greeting", greeting.fill(hostname=self.hostname).encode())
        object.__setattr__(self, "helo", replies.HELLO.fill(hostname=self.hostname).encode())
        object.__setattr__(self, "ehlo", self._hello(self.messages_per_session, expands=False))
        # They may send any number of messages, so MAILMAX would be a lie.
        object.__setattr__(self, "ehlo_trusted", self._hello(None, expands=True))

    def _hello(self, messages: int | None, expands: bool) -> bytes:
        offered = keywords(self.message_size, self.recipients, messages, expands=expands, etrn=self.etrn)
        return Reply(replies.HELLO.code, (self.hostname, *offered)).encode()

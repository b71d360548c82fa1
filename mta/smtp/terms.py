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

    `greeting`, `helo` and `ehlo` are replies ready for the wire.
    """

    hostname: str
    message_size: int
    text_line: int
    hops: int
    recipients: int
    messages_per_session: int
    errors_soft: int
    errors_hard: int
    junk_commands: int
    greeting: bytes = field(init=False)
    helo: bytes = field(init=False)
    ehlo: bytes = field(init=False)

    def __post_init__(self) -> None:
        ehlo = Reply(replies.HELLO.code, (self.hostname, *keywords(self.message_size)))
        object.__setattr__(self, "greeting", replies.GREETING.fill(hostname=self.hostname).encode())
        object.__setattr__(self, "helo", replies.HELLO.fill(hostname=self.hostname).encode())
        object.__setattr__(self, "ehlo", ehlo.encode())

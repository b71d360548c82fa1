"""
How long and how often the SMTP client does things.

Owns: the names of its timeouts and limits; their values come from the configuration.
Never: has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mta.smtp.client_stage import Stage


@dataclass(frozen=True, slots=True)
class ClientTimeouts:
    """
    All in seconds (RFC 5321 4.5.3.2). Each phase starts anew with the reply before it, `block` with each piece of
    content that was sent; `idle` and `lifetime` are of a connection that is kept for the next message.
    """

    connect: float
    greeting: float
    hello: float
    starttls: float
    mail: float
    rcpt: float
    data: float
    block: float
    final_dot: float
    rset: float
    quit: float
    idle: float
    lifetime: float

    def by_stage(self) -> Mapping[Stage, float]:
        """The seconds a session may stay in each stage. READY is not among them: the pool watches idle connections."""
        return {
            Stage.GREETING: self.greeting,
            Stage.EHLO: self.hello,
            Stage.LHLO: self.hello,
            Stage.HELO: self.hello,
            Stage.STARTTLS: self.starttls,
            Stage.HANDSHAKE: self.starttls,
            Stage.AUTH: self.mail,
            Stage.MAIL: self.mail,
            Stage.RCPT: self.rcpt,
            Stage.DATA: self.data,
            Stage.CONTENT: self.block,
            Stage.FINAL_DOT: self.final_dot,
            # RFC 3030 has none. A chunk's reply may come when the last one is out, and giving up early then duplicates.
            Stage.CHUNK: self.final_dot,
            Stage.LAST_CHUNK: self.final_dot,
            Stage.EMPTY_DOT: self.rset,  # nothing is stored for it, so it is no longer work than RSET
            Stage.RSET: self.rset,
            Stage.QUIT: self.quit,
            Stage.ENDED: self.quit,  # until what is left to send is sent
        }


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Recipients in one transaction (the queue manager cuts larger ones), messages over one connection."""

    recipients_per_transaction: int
    messages_per_connection: int

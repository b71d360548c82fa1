"""
What a client may take of us: the limits of the server, who is connected, and what each sent in the last minute.

Owns: `ServerLimits`, and the counts of connections, messages and recipients in all and for each client.
Never: reads a clock, closes anything; the defaults stand in `mta/config/`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.policy.clients import client_key
from mta.policy.counts import CLIENTS, CONNECTING, MESSAGES, RECIPIENTS, TOTAL, TURNING, Counts, LocalCounts
from mta.policy.verdict import Verdict
from mta.smtp import message_replies, replies
from mta.smtp.server_reply import ServerReply

# Postfix calls it stress when all its processes are busy; we have no processes, so a share of the connections.
STRESS = 0.8

# ETRN for one domain, in a minute: a client whose line has come up needs one.
TURNS = 1

_ADMITTED = Verdict(None, "within the limits")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """
    All limits of the server.

    Octets: `message_size`, `header_size`, `command_line` (with CRLF), `text_line` (with CRLF). Seconds: `idle_timeout`,
    `error_delay`, `greet_wait`, `policy_timeout`, `proxy_timeout`. `connection_rate`, `message_rate` and
    `recipient_rate` are of one client in a minute, the latter two 0 for any number; `errors_soft` and `errors_hard`
    count the errors since a session's last message; `hops` is Received fields, `mime_depth` levels of parts. All others
    are counts.
    """

    connections: int
    connections_per_client: int
    connection_rate: int
    message_rate: int
    recipient_rate: int
    message_size: int
    recipients: int
    expanded_recipients: int
    messages_per_session: int
    command_line: int
    text_line: int
    header_size: int
    mime_depth: int
    idle_timeout: float
    errors_soft: int
    errors_hard: int
    junk_commands: int
    error_delay: float
    hops: int
    greet_wait: float
    policy_timeout: float
    proxy_timeout: float


class Connections:
    """
    Who is connected and what they send, over all listeners, and over all workers where they share `counts`.

    Trusted clients are exempt from the limits for one client, not from the total (as Postfix exempts mynetworks). What
    is refused does not count: a client that retries all the time is slowed down, not locked out.
    """

    def __init__(self, limits: ServerLimits, hostname: str, counts: Counts | None = None) -> None:
        counts = counts or LocalCounts()
        self._limits = limits
        self._hostname = hostname
        self._all = counts.places(TOTAL)
        self._open = counts.places(CLIENTS)
        self._connecting = counts.rates(CONNECTING, limits.connection_rate)
        self._messages = counts.rates(MESSAGES, limits.message_rate)
        self._recipients = counts.rates(RECIPIENTS, limits.recipient_rate)
        self._turns = counts.rates(TURNING, TURNS)

    @property
    def total(self) -> int:
        """How many connections are open."""
        return self._all.taken("")

    @property
    def stressed(self) -> bool:
        """Whether so many of the connections are taken that idle ones should go sooner."""
        return self.total > self._limits.connections * STRESS

    def admit(self, ip: str, trusted: bool, now: float) -> Verdict:
        """Whether one more connection is welcome at `now` (seconds); if so it counts until `leave`."""
        limits = self._limits
        if not self._all.take("", limits.connections):
            return self._refused(replies.TOO_MANY_CONNECTIONS, "limits.connections")
        key = client_key(ip)
        # A trusted client has its places counted, for the day that it is trusted no more, and any number of them.
        if not self._open.take(key, limits.connections if trusted else limits.connections_per_client):
            self._all.leave("")
            return self._refused(replies.TOO_MANY_FROM_CLIENT, "limits.connections_per_client")
        if not trusted and not self._connecting.take(key, 1, now):
            self.leave(ip)
            return self._refused(replies.TOO_FAST, "limits.connection_rate")
        return _ADMITTED

    def message(self, ip: str, trusted: bool, now: float) -> Verdict:
        """Whether a client may begin one more message at `now` (seconds); if so it counts. Ask at MAIL."""
        if trusted or self._messages.take(client_key(ip), 1, now):
            return _ADMITTED
        return Verdict(message_replies.TOO_MANY_MESSAGES_A_MINUTE.reply, "limits.message_rate")

    def recipients(self, ip: str, count: int, trusted: bool, now: float) -> Verdict:
        """Whether a client may name `count` more recipients at `now` (seconds); if so they count. Ask at RCPT."""
        if trusted or self._recipients.take(client_key(ip), count, now):
            return _ADMITTED
        return Verdict(message_replies.TOO_MANY_RECIPIENTS_A_MINUTE.reply, "limits.recipient_rate")

    def turn(self, node: str, now: float) -> bool:
        """Whether the queue may be turned to `node` at `now` (seconds), whoever asks for it; if so it counts."""
        return self._turns.take(node, 1, now)

    def leave(self, ip: str) -> None:
        """A connection that was admitted has ended."""
        self._all.leave("")
        self._open.leave(client_key(ip))

    def _refused(self, reply: ServerReply, limit: str) -> Verdict:
        return Verdict(reply.fill(hostname=self._hostname), limit)

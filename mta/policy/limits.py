"""
What a client may take of us: the limits of the server, and who is connected.

Owns: `ServerLimits`, and the counts of connections in all and for each client.
Never: reads a clock, closes anything; the defaults stand in `mta/config/`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from mta.policy.clients import client_key
from mta.policy.verdict import Verdict
from mta.smtp import replies

# Clients remembered for their rate. Who owns many networks can't fill our memory; the longest silent is forgotten.
MAX_CLIENTS = 20_000

# Postfix calls it stress when all its processes are busy; we have no processes, so a share of the connections.
STRESS = 0.8

_MINUTE = 60.0
_ADMITTED = Verdict(None, "within the limits")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """
    All limits of the server.

    Octets: `message_size`, `command_line` (with CRLF), `text_line` (with CRLF). Seconds: `idle_timeout`, `error_delay`,
    `greet_wait`. `connection_rate` is connections of one client in a minute; `errors_soft` and `errors_hard` count the
    errors since a session's last message; `hops` is Received fields. All others are counts.
    """

    connections: int
    connections_per_client: int
    connection_rate: int
    message_size: int
    recipients: int
    messages_per_session: int
    command_line: int
    text_line: int
    idle_timeout: float
    errors_soft: int
    errors_hard: int
    junk_commands: int
    error_delay: float
    hops: int
    greet_wait: float


@dataclass(slots=True)
class _Rate:
    """Connections of one client: in the minute that began at `since`, and in the one before."""

    since: float
    count: int = 0
    before: int = 0

    def turn_to(self, now: float) -> None:
        minutes = int((now - self.since) // _MINUTE)
        # A clock that was set back starts a new minute as well.
        if minutes:
            self.before = self.count if minutes == 1 else 0
            self.count = 0
            self.since = self.since + _MINUTE if minutes == 1 else now

    def in_last_minute(self, now: float) -> float:
        """An estimate from two counts: exact where the minute before was silent, and even in its share otherwise."""
        return self.count + self.before * (1 - (now - self.since) / _MINUTE)


class Connections:
    """
    Who is connected, over all listeners.

    Trusted clients are exempt from the limits for one client, not from the total (as Postfix exempts mynetworks).
    """

    def __init__(self, limits: ServerLimits, hostname: str) -> None:
        self._limits = limits
        self._hostname = hostname
        self._open: dict[str, int] = {}
        self._rates: OrderedDict[str, _Rate] = OrderedDict()
        self.total = 0

    @property
    def stressed(self) -> bool:
        """Whether so many of the connections are taken that idle ones should go sooner."""
        return self.total > self._limits.connections * STRESS

    def admit(self, ip: str, trusted: bool, now: float) -> Verdict:
        """
        Whether one more connection is welcome at `now` (seconds); if so it counts until `leave`.

        What is refused does not count, also not for the rate: a client that retries all the time is slowed down, not
        locked out.
        """
        limits = self._limits
        if self.total >= limits.connections:
            return self._refused(replies.TOO_MANY_CONNECTIONS, "limits.connections")
        key = client_key(ip)
        if not trusted:
            if self._open.get(key, 0) >= limits.connections_per_client:
                return self._refused(replies.TOO_MANY_FROM_CLIENT, "limits.connections_per_client")
            rate = self._rate(key, now)
            if rate.in_last_minute(now) >= limits.connection_rate:
                return self._refused(replies.TOO_FAST, "limits.connection_rate")
            rate.count += 1
        self.total += 1
        self._open[key] = self._open.get(key, 0) + 1
        return _ADMITTED

    def leave(self, ip: str) -> None:
        """A connection that was admitted has ended."""
        key = client_key(ip)
        self.total -= 1
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    def _refused(self, reply: replies.ServerReply, limit: str) -> Verdict:
        return Verdict(reply.fill(hostname=self._hostname), limit)

    def _rate(self, key: str, now: float) -> _Rate:
        """The rate of a client, brought up to `now`; the order of the dictionary is that of their last connection."""
        rate = self._rates.get(key)
        if rate is None:
            if len(self._rates) >= MAX_CLIENTS:
                self._rates.popitem(last=False)
            rate = self._rates[key] = _Rate(now)
        else:
            self._rates.move_to_end(key)
            rate.turn_to(now)
        return rate

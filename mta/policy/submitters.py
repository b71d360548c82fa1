"""
What a client that logs in may do: how often it may fail, as whom it may send, and how much.

Owns: these rules and counts, over all workers where they share `counts`.
Never: reads a clock, knows a password.

A limit releases by itself: what counts is an estimate of the last hour or day. Counts do not outlive the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.address import Address
from mta.identity import Identity
from mta.policy.clients import client_key
from mta.policy.counts import Counts, LocalCounts, Paced
from mta.policy.directory import canonical_domain, folded
from mta.policy.verdict import Verdict
from mta.smtp import auth_replies

_HOUR, _DAY = 3600.0, 86_400.0
# Each further failure of a connection doubles the delay, up to that many times the first.
_LONGEST_DELAY = 16

_YES = Verdict(None, "within the limits")


@dataclass(frozen=True, slots=True)
class SubmitterLimits:
    """As in [auth]: `failures` in `failure_period` seconds, `failure_delay` in seconds; 0 is any number of the rest."""

    failures: int
    failure_period: float
    failure_delay: float
    messages_per_hour: int
    messages_per_day: int
    recipients_per_hour: int
    recipients_per_day: int


NO_LIMITS = SubmitterLimits(
    failures=0,
    failure_period=600.0,
    failure_delay=0.0,
    messages_per_hour=0,
    messages_per_day=0,
    recipients_per_hour=0,
    recipients_per_day=0,
)


class Submitters:
    """The counts of clients that fail and of users that send; `domains` are local, where a bare user name lives."""

    def __init__(self, limits: SubmitterLimits, domains: frozenset[str], counts: Counts | None = None) -> None:
        counts = counts or LocalCounts()
        self._limits = limits
        self._domains = domains
        self._failures = counts.rates("auth-failures", limits.failures, limits.failure_period)
        self._messages = (
            counts.rates("user-messages-day", limits.messages_per_day, _DAY),
            counts.rates("user-messages-hour", limits.messages_per_hour, _HOUR),
        )
        self._recipients = (
            counts.rates("user-recipients-day", limits.recipients_per_day, _DAY),
            counts.rates("user-recipients-hour", limits.recipients_per_hour, _HOUR),
        )

    def is_blocked(self, ip: str, now: float) -> bool:
        """Whether a client has failed so often that it may not try at `now` (seconds)."""
        return not self._failures.has_room(client_key(ip), 1, now)

    def failed(self, ip: str, now: float) -> None:
        """A client has failed."""
        self._failures.take(client_key(ip), 1, now)

    def delay(self, failures: int) -> float:
        """Seconds to hold back the reply to a connection's failure of this number, from 1."""
        return self._limits.failure_delay * float(min(1 << min(failures - 1, 30), _LONGEST_DELAY))

    def may_send_as(self, identity: Identity, sender: Address | None) -> Verdict:
        """Whether a user may send as `sender`; None, the null reverse-path, is for everybody's notifications."""
        if sender is None or self._owns(identity, sender):
            return _YES
        return Verdict(auth_replies.NOT_YOUR_ADDRESS.fill(sender=str(sender)), "auth.senders")

    def _owns(self, identity: Identity, sender: Address) -> bool:
        local, domain = folded(sender.local), canonical_domain(sender.domain)
        if identity.user == f"{local}@{domain}" or (identity.user == local and domain in self._domains):
            return True
        senders = identity.senders
        if "*" in senders or f"@{domain}" in senders:
            return True
        return any(folded(mine.rpartition("@")[0]) == local and mine.endswith(f"@{domain}") for mine in senders)

    def message(self, identity: Identity, now: float) -> Verdict:
        """Whether a user may begin one more message at `now` (seconds); if so it counts. Ask at MAIL."""
        if _taken(self._messages, identity.user, now):
            return _YES
        return Verdict(auth_replies.TOO_MANY_MESSAGES_OF_USER.reply, "auth.messages_per_hour, auth.messages_per_day")

    def recipient(self, identity: Identity, now: float) -> Verdict:
        """Whether a user may name one more recipient at `now` (seconds); if so it counts. Ask at RCPT."""
        if _taken(self._recipients, identity.user, now):
            return _YES
        reply = auth_replies.TOO_MANY_RECIPIENTS_OF_USER.reply
        return Verdict(reply, "auth.recipients_per_hour, auth.recipients_per_day")


def _taken(rates: tuple[Paced, ...], user: str, now: float) -> bool:
    """Count one more of a user in each, or in none of them."""
    if not all(rate.has_room(user, 1, now) for rate in rates):
        return False
    for rate in rates:
        rate.take(user, 1, now)
    return True

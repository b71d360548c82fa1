"""
The events of a message's life: declared once here, written to the spool and to the log, printed by `mta trace`.

Owns: the kinds of event, what each means and which fields it carries.
Never: writes one down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

Detail = Mapping[str, str | int | float | None]


class Kind(Enum):
    """Kinds of event; the terminal ones end a recipient, and each recipient gets exactly one of them."""

    ACCEPTED = "accepted"
    ROUTED = "routed"
    DEFERRED = "deferred"
    IN_DOUBT = "in-doubt"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    DISCARDED = "discarded"
    HELD = "held"
    RELEASED = "released"
    RETRIED = "retried"
    REROUTED = "rerouted"
    ENDED = "ended"
    RESTORED = "restored"
    IMPORTED = "imported"
    CRASHED = "crashed"
    QUARANTINED = "quarantined"


TERMINAL = frozenset((Kind.DELIVERED, Kind.BOUNCED, Kind.EXPIRED, Kind.DISCARDED))

# kind -> (what it means, the fields of its detail)
MEANINGS: Mapping[Kind, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.ACCEPTED: (
            "The message is durable in the spool and was acknowledged; `proxy` is who named the client where that did"
            " not come itself, `require_tls` what its sender says of TLS (RFC 8689).",
            (
                "client",
                "proxy",
                "helo",
                "listener",
                "protocol",
                "tls",
                "cipher",
                "certificate",
                "user",
                "sender",
                "size",
                "recipients",
                "require_tls",
            ),
        ),
        Kind.ROUTED: (
            "An attempt begins: a next hop was chosen for the recipient by a rule.",
            ("rule", "next_hop", "site"),
        ),
        Kind.DEFERRED: (
            "It will be tried again when `due`; attempt 0: nobody was asked, its site is silent (then it goes as soon"
            " as that answers) or crowded (told once, however often that is so; the queue's list has the time that is"
            " due now).",
            ("attempt", "reason", "host", "phase", "reply", "code", "tls", "choice", "due", "dsn"),
        ),
        Kind.IN_DOUBT: (
            "All of it was sent and no reply came: the host may have it; tried again when `due`, held without one.",
            ("attempt", "reason", "host", "phase", "code", "tls", "choice", "due", "dsn"),
        ),
        Kind.DELIVERED: (
            "A next hop or a mailbox took it; `tls` says what protected the connection, or why nothing did;"
            " `choice` which of several next hops of a route it was, and why the others were not.",
            ("attempt", "host", "reply", "tls", "choice", "delay"),
        ),
        Kind.BOUNCED: (
            "It failed for good; `dsn` is the report's queue id.",
            ("attempt", "reason", "host", "phase", "reply", "code", "choice", "dsn"),
        ),
        Kind.EXPIRED: (
            "Its lifetime ended after a last attempt; `dsn` as in bounced.",
            ("attempt", "reason", "host", "phase", "reply", "code", "choice", "dsn"),
        ),
        Kind.DISCARDED: (
            "An operator or a rule dropped it, and nobody is told; `operation` as in held.",
            ("by", "reason", "operation"),
        ),
        Kind.HELD: (
            "An operator or a rule stopped its delivery until it is released; `mta undo` takes the `operation` back.",
            ("by", "reason", "operation", "rule"),
        ),
        Kind.RELEASED: ("A held recipient may be delivered again.", ("by", "operation")),
        Kind.RETRIED: ("An operator asked for an attempt at once.", ("by", "operation")),
        Kind.REROUTED: (
            "An operator chose where the next attempts go; without `next_hop` the routes decide again.",
            ("by", "next_hop", "operation"),
        ),
        Kind.ENDED: ("An operator gave it up: its sender is told the `reason`.", ("by", "reason", "operation")),
        Kind.RESTORED: (
            "An operator undid an operation: the recipient is what it was before, a discarded one as well.",
            ("by", "operation", "undoes"),
        ),
        Kind.IMPORTED: (
            "It came from an archive of another queue, where it was message `of`; all before that is told there.",
            ("by", "archive", "of"),
        ),
        Kind.CRASHED: (
            "Handling the message raised an exception of ours; it is tried again later.",
            ("reason", "crashes"),
        ),
        Kind.QUARANTINED: (
            "The message can't be read or crashed us three times; it is kept, and needs a person.",
            ("reason",),
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event: `at` in seconds since 1970, `recipient` None where it speaks of the whole message.

    `detail` holds the fields of `MEANINGS` that are known; a raw reply stands in `reply`.
    """

    message: int
    at: float
    kind: Kind
    recipient: str | None = None
    detail: Detail = field(default_factory=dict)

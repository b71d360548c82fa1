"""
The envelope of a message and where it came from.

Owns: the values that travel from the server's session through the spool to the delivery agents.
Never: holds content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mta.address import Address


class Body(Enum):
    """What the sender declared of the content (RFC 6152, RFC 3030)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A forward-path as accepted."""

    address: Address


@dataclass(frozen=True, slots=True)
class Envelope:
    """`sender` None is the null reverse-path; `recipients` are distinct by address, in the order they came."""

    sender: Address | None
    recipients: tuple[Recipient, ...]
    body: Body = Body.SEVEN_BIT


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where a message came from, for the event log.

    `client` is the peer's IP address or the local user; `protocol` a "with" keyword of RFC 5321 4.4 (SMTP, ESMTP) or
    "local" or "bounce"; `listener` the name from the configuration.
    """

    client: str
    helo: str = ""
    listener: str = ""
    protocol: str = "ESMTP"
    details: dict[str, str] = field(default_factory=dict)

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
    BINARY_MIME = "BINARYMIME"


class Notify(Enum):
    """When the sender wants a report on a recipient (RFC 3461 4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Ret(Enum):
    """What of the original a failure report returns (RFC 3461 4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


class RequireTls(Enum):
    """What the sender says of TLS on the way of the message, from here to its end (RFC 8689)."""

    YES = "yes"  # REQUIRETLS of MAIL: nothing but hosts that prove who they are, and hand it on in the same way
    NO = "no"  # the header has TLS-Required: No: what recipient domains publish (DANE, MTA-STS) shall not keep it back


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    A forward-path as accepted, with what RFC 3461 lets its sender say of it.

    `notify` None is "not said": reports on failure, and on delay as we see fit. `orcpt` is the original recipient as
    "type;address", decoded, "" where not said. `named` is what RCPT named where `address` stands in its place (for an
    alias, or a user who moved), else "".
    """

    address: Address
    notify: frozenset[Notify] | None = None
    orcpt: str = ""
    named: str = ""

    def wants(self, when: Notify) -> bool:
        """Whether its sender wants a report then (RFC 3461 4.1: without NOTIFY, failure and maybe delay)."""
        return when is not Notify.SUCCESS if self.notify is None else when in self.notify


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    `sender` None is the null reverse-path; `recipients` are distinct by address, in the order they came.

    `utf8` is SMTPUTF8 (RFC 6531 3.4): addresses or header are not ASCII. `ret` and `envid` (decoded, "" where not
    said) are of RFC 3461. `expanded` are aliases that the server replaced by their several members, which are among
    `recipients`, and whose sender wants to know (RFC 3461 5.2.7.3). `require_tls` None: the sender says nothing of TLS.
    `tls_report`: it is a report of ours on TLS (RFC 8460 3): TLS keeps it back from nobody, and it is not reported on.
    """

    sender: Address | None
    recipients: tuple[Recipient, ...]
    body: Body = Body.SEVEN_BIT
    utf8: bool = False
    ret: Ret | None = None
    envid: str = ""
    expanded: tuple[Recipient, ...] = ()
    require_tls: RequireTls | None = None
    tls_report: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where a message came from, for the event log.

    `client` is the peer's IP address or the local user; `protocol` a "with" keyword of RFC 5321 4.4 (SMTP, ESMTP) or
    "local" or "bounce"; `listener` the name from the configuration. `details` may tell the `user` who
    has authenticated.
    """

    client: str
    helo: str = ""
    listener: str = ""
    protocol: str = "ESMTP"
    details: dict[str, str] = field(default_factory=dict)

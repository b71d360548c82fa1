"""
What happens in a client's session, as told to its shell.

Owns: the events and what each asks of the shell.
Never: decides when one happens; that is `mta/smtp/client.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mta.address import Address
from mta.outcome import Deferral, Outcome


@dataclass(frozen=True, slots=True)
class StartTls:
    """The server waits for a TLS handshake: make one, then call `secured`, or `tls_failed` where it came to nothing."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The server greeted us and knows our name: `begin` may be called."""


@dataclass(frozen=True, slots=True)
class SendContent:
    """
    The server waits for the content: call `send_content` for each piece of it, then `end_content`.

    The end stays here until `allow_end` is called: from there on `recipients` may be delivered and we not told.
    """

    recipients: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class TransactionDone:
    """
    One outcome for each recipient; the session is `READY` again or `ENDED`.

    `undecided` are those whose deferral only says that the connection ended before the server said anything of them,
    and before it could have taken the message: another host may be asked for them at once. `left` are those whose
    deferral only says that the server takes no more recipients in this transaction: they may have another at once.
    """

    outcomes: Mapping[Address, Outcome]
    undecided: tuple[Address, ...] = ()
    left: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is of no more use: send what is left to send and close it. `why` is fit for a log."""

    why: Deferral


ClientEvent = StartTls | Ready | SendContent | TransactionDone | Ended

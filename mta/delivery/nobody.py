"""
Recipients that nobody here has the name of.

Owns: the outcome for them, at all agents that would make a mailbox.
Never: knows who lives here.

The server refuses mail to those, but a report goes to whatever name a sender has made up.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred

from mta.address import Address
from mta.outcome import Deferral, Failure, Phase, Scope

IsNobody = Callable[[Address], "bool | Deferred[bool]"]


async def why_not_here(is_nobody: IsNobody, recipient: Address, host: str) -> Failure | Deferral | None:
    """Why there is no mailbox for `recipient`; None where there is one."""
    try:
        nobody = is_nobody(recipient)
        if isinstance(nobody, Deferred):
            nobody = await nobody
    except CancelledError:
        raise
    except Exception as error:  # a table that can't be asked says nothing about anybody
        return Deferral(str(error), Phase.STORE, Scope.OURSELVES, host, enhanced="4.4.3")
    if nobody:
        return Failure(f"{recipient.for_log()}: no such user here", Phase.STORE, host, enhanced="5.1.1")
    return None

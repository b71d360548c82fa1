"""
What a policy says to a question.

Owns: the shape of a verdict.
Never: decides one.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.address import Address
from mta.reply import Reply


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    `reason` names the rule that decided, for the log and for `mta explain`.

    `reply` None accepts in the usual words; a positive one accepts in its own (251); any other refuses. `recipients`
    take the place of the address asked about, () for itself; `expanded` says that they are the several members of an
    alias, and not just another address of the same recipient (RFC 3461 5.2.7).
    """

    reply: Reply | None
    reason: str
    recipients: tuple[Address, ...] = ()
    expanded: bool = False

    @property
    def accepts(self) -> bool:
        return self.reply is None or self.reply.is_positive

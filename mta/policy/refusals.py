"""
Refuse recipients whose route is an ``error:``.

Owns: that they are refused at RCPT, where their sender's own server can still tell him; and what is said of an alias.
Never: routes; tells a stranger of anybody whom he may not reach.
Fails: never for a recipient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mta.address import Address
from mta.policy.directory import Directory, Resolved
from mta.policy.relay import RelayPolicy
from mta.policy.verdict import Verdict
from mta.reply import Reply


class RefusingPolicy(RelayPolicy):
    """
    `RelayPolicy`, for a configuration with an ``error:`` in it.

    `refusal` gives the reply that the route of a recipient is, or None where it leads somewhere. An alias is refused
    where nobody behind it can be reached; else the others have the mail, and the queue reports on the rest.
    """

    def __init__(self, directory: Directory, refusal: Callable[[Address], Reply | None], **rules: Any) -> None:
        super().__init__(directory, **rules)
        self._refusal = refusal

    def judged(
        self, address: Address, trusted: bool, resolved: Resolved, recipients: tuple[Address, ...] | None = None
    ) -> Verdict:
        verdict = super().judged(address, trusted, resolved, recipients)
        if not verdict.accepts:
            return verdict
        refusals = [self._refusal(each) for each in verdict.recipients or (address,)]
        first = refusals[0]
        return verdict if first is None or None in refusals else Verdict(first, "route to error:")

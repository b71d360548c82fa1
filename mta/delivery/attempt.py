"""
What one attempt to deliver a message to remote hosts has come to.

Owns: which recipients are still to be decided, when to stop trying, which trouble is told where nobody answered.
Never: connects, waits.
"""

from __future__ import annotations

from collections.abc import Mapping

from mta.address import Address
from mta.entry import Delivery
from mta.outcome import Deferral, Outcome, Phase, Scope
from mta.smtp.client import TransactionDone
from mta.smtp.transaction import Transaction

# Sessions of one attempt that got past EHLO (Postfix: smtp_mx_session_limit).
MAX_SESSIONS = 2
# Addresses of one attempt. A domain may list a hundred dead hosts, and each address costs a connect timeout.
MAX_ADDRESSES = 20

# The trouble that got furthest says most.
_DISTANCE = {Phase.DNS: 1, Phase.CONNECT: 2, Phase.GREETING: 3, Phase.HELLO: 4}


class Attempt:
    """One attempt. `is_over` once all recipients are decided or enough hosts were tried."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._undecided = delivery.recipients
        self._outcomes: dict[Address, Outcome] = {}
        self._trouble: Deferral | None = None
        self._addresses = 0
        self._sessions = 0

    @property
    def is_over(self) -> bool:
        return not self._undecided or self._sessions >= MAX_SESSIONS or self._addresses >= MAX_ADDRESSES

    def transaction(self) -> Transaction:
        """The transaction for those who are undecided."""
        delivery = self._delivery
        return Transaction(delivery.sender, self._undecided, delivery.body, delivery.content.size)

    def answered_idle(self, done: TransactionDone) -> None:
        """
        A connection that had been idle was used.

        Where the server had closed it meanwhile, that is no news of the message and no try: nothing is kept of it.
        """
        self._undecided = done.undecided
        for recipient, outcome in done.outcomes.items():
            if recipient not in done.undecided:
                self._outcomes[recipient] = outcome

    def answered(self, done: TransactionDone) -> None:
        """A new connection was used."""
        self._addresses += 1
        self._sessions += 1
        self._outcomes.update(done.outcomes)
        self._undecided = done.undecided

    def not_connected(self, trouble: Deferral) -> None:
        """An address gave no connection fit for a transaction."""
        self._addresses += 1
        self.hindered(trouble)

    def hindered(self, trouble: Deferral) -> None:
        """Something kept us from a host."""
        if self._trouble is None or _weight(trouble) >= _weight(self._trouble):
            self._trouble = trouble

    def outcomes(self) -> Mapping[Address, Outcome]:
        """One for each recipient of the delivery."""
        trouble = self._trouble
        if trouble is None:
            site = self._delivery.destination.site
            trouble = Deferral(f"no host to try for {site}", Phase.ROUTE, Scope.OURSELVES, enhanced="4.4.4")
        for recipient in self._undecided:
            self._outcomes.setdefault(recipient, trouble)
        return self._outcomes


def _weight(trouble: Deferral) -> tuple[int, bool]:
    return _DISTANCE.get(trouble.phase, 0), trouble.scope is Scope.SITE

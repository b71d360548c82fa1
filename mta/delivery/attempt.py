"""
What one attempt to deliver a message to remote hosts has come to.

Owns: which recipients are still to be decided, when to stop trying, which trouble is told where nobody answered.
Never: connects, waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mta.address import Address
from mta.delivery.next_hops import Choice
from mta.entry import Delivery
from mta.envelope import Envelope
from mta.outcome import Deferral, Failure, Outcome, Phase, Scope
from mta.smtp.client_events import TransactionDone

# Sessions of one attempt that got past EHLO (Postfix: smtp_mx_session_limit).
MAX_SESSIONS = 2
# Addresses of one attempt. A domain may list a hundred dead hosts, and each address costs a connect timeout.
MAX_ADDRESSES = 20

# The trouble that got furthest says most.
_DISTANCE = {Phase.DNS: 1, Phase.CONNECT: 2, Phase.GREETING: 3, Phase.HELLO: 4, Phase.TLS: 5, Phase.AUTH: 6}


class Attempt:
    """
    One attempt. `is_over` once all recipients are decided or enough hosts were tried.

    `undecided` are those that a host should still be asked about: nobody has spoken of them, or a host left them for
    another transaction. `choice` tells of several next hops, None where there is one; `latest` is the last trouble,
    None since a connection was ready.
    """

    def __init__(self, delivery: Delivery) -> None:
        self.undecided = delivery.recipients
        self.choice = Choice(delivery.destination) if delivery.destination.next_hop.others else None
        self.latest: Deferral | None = None
        self._delivery = delivery
        self._outcomes: dict[Address, Outcome] = {}
        self._trouble: Deferral | None = None
        self._may_help_to_wait = False
        self._addresses = 0
        self._sessions = 0

    @property
    def is_over(self) -> bool:
        return not self.undecided or self._sessions >= MAX_SESSIONS or self._addresses >= MAX_ADDRESSES

    @property
    def lacks_tls(self) -> bool:
        """Whether some recipients had no host, and what came closest to one failed for want of TLS there."""
        trouble = self._trouble
        if not self.undecided or trouble is None:
            return False
        return trouble.phase is Phase.TLS and trouble.scope is not Scope.OURSELVES

    @property
    def envelope(self) -> Envelope:
        """The envelope for those who are undecided."""
        whole = self._delivery.envelope
        if len(self.undecided) == len(whole.recipients):
            return whole
        wanted = frozenset(self.undecided)
        return replace(whole, recipients=tuple(item for item in whole.recipients if item.address in wanted))

    def connected(self) -> None:
        """A new connection is ready for a transaction."""
        self.latest = None
        self._addresses += 1
        self._sessions += 1

    def continues(self) -> None:
        """The attempt goes on with the same server, over a new connection: together they count as one."""
        self._addresses -= 1
        self._sessions -= 1

    def not_connected(self, trouble: Deferral) -> None:
        """An address gave no connection fit for a transaction."""
        self._addresses += 1
        self.hindered(trouble)

    def answered(self, done: TransactionDone, *, was_idle: bool) -> None:
        """
        A connection was used.

        Where the server had closed an idle one meanwhile, that is no news of the message and no try: nothing is kept
        of it.
        """
        for recipient, outcome in done.outcomes.items():
            if not (was_idle and recipient in done.undecided):
                self._outcomes[recipient] = self._explained(outcome)
        self.undecided = done.undecided + done.left

    def refused(self, failure: Failure) -> None:
        """No undecided recipient may have the message from the host that is connected."""
        self._outcomes.update(dict.fromkeys(self.undecided, self._explained(failure)))
        self.undecided = ()

    def gave_up(self, trouble: Deferral) -> None:
        """A fault of our own ends the attempt."""
        self._outcomes.update(dict.fromkeys(self.undecided, trouble))
        self.undecided = ()

    def hindered(self, trouble: Deferral) -> None:
        """Something kept us from a host."""
        self.latest = trouble
        self._may_help_to_wait = self._may_help_to_wait or not trouble.ends_as
        if self._trouble is None or _weight(trouble) >= _weight(self._trouble):
            self._trouble = trouble

    def _explained(self, outcome: Outcome) -> Outcome:
        return outcome if self.choice is None else replace(outcome, choice=self.choice.words())

    def outcomes(self) -> Mapping[Address, Outcome]:
        """One for each recipient of the delivery."""
        if not self.undecided:
            return self._outcomes
        trouble = self._trouble
        if trouble is None:
            site = self._delivery.destination.site
            trouble = Deferral(f"no host to try for {site}", Phase.ROUTE, Scope.OURSELVES, enhanced="4.4.4")
        outcome: Outcome = trouble
        if trouble.ends_as and not self._may_help_to_wait:
            # RFC 8689 4.2.1: where no host will do the sender is told at once.
            outcome = Failure(trouble.reason, trouble.phase, trouble.host, trouble.reply, trouble.ends_as)
        outcome = self._explained(outcome)
        for recipient in self.undecided:
            self._outcomes.setdefault(recipient, outcome)
        return self._outcomes


def _weight(trouble: Deferral) -> tuple[int, bool]:
    return _DISTANCE.get(trouble.phase, 0), trouble.scope is Scope.SITE

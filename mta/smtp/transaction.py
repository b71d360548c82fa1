"""
A mail transaction as a client sees it: what is asked for, and what has become of each recipient so far.

Owns: who is asked for in this transaction, and how the replies are weighed for each recipient.
Never: sends, waits, or knows in which order replies come.
Fails: never; an address that can't stand in a command is a deferral of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mta.address import Address
from mta.envelope import Body, Envelope, Recipient
from mta.outcome import Deferral, Delivered, Failure, Handover, Outcome, Phase, Scope, judge_reply
from mta.reply import Reply
from mta.smtp.capabilities import Capabilities
from mta.smtp.envelope_commands import mail_command, rcpt_command

# RFC 5321 4.5.3.1.10: 452, and 552 of servers that follow RFC 821. One whose enhanced code says something else (4.2.2
# or 5.2.2, a full mailbox) means what it says.
_TOO_MANY = {452: (None, "4.5.3"), 552: (None, "5.5.3")}


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message for the recipients of its envelope; `size` in octets, without dot-stuffing (RFC 1870 5)."""

    envelope: Envelope
    size: int


class Progress:
    """
    A transaction under way at `host`.

    `asked` are the recipients that get a RCPT command, in that order; `accepted` those that got a 2xx for it; `left`
    those for another transaction; `outcomes` what is settled. `sender_refused` turns true when MAIL was, and
    `content_was_refused` when a chunk or the content was. `handover` is what a 2xx for the content makes of them; `tls`
    says what protects the connection.
    """

    __slots__ = (
        "_answered",
        "_handover",
        "_host",
        "_tls",
        "_told",
        "accepted",
        "asked",
        "content_was_refused",
        "left",
        "outcomes",
        "sender_refused",
        "transaction",
    )

    def __init__(self, transaction: Transaction, host: str, handover: Handover, tls: str = "") -> None:
        self.transaction = transaction
        self.asked: list[Address] = []
        self.accepted: list[Address] = []
        self.left: list[Address] = []
        self.outcomes: dict[Address, Outcome] = {}
        self.sender_refused = False
        self.content_was_refused = False
        self._answered = 0
        self._told = 0  # of the accepted ones, how many an LMTP server has answered for
        self._host = host
        self._handover = handover
        self._tls = tls

    def told(self) -> dict[Address, Outcome]:
        """What is settled, with what protected the connection where that may matter to who reads it."""
        outcomes, tls = self.outcomes, self._tls
        if tls:
            for address, outcome in outcomes.items():
                if isinstance(outcome, Deferral):
                    outcomes[address] = replace(outcome, tls=tls)
        return outcomes

    def commands(self, offers: Capabilities, domains: set[str]) -> list[bytes]:
        """
        MAIL and a RCPT for each of `asked`; only MAIL, or nothing, where there is nobody to ask for.

        `domains` are those that this session has had recipients at; those of `asked` are added.
        """
        transaction = self.transaction
        unfit = self._unfit(offers)
        if unfit is not None:
            self.settle_rest(unfit)
            return []
        mail = mail_command(transaction.envelope, transaction.size, offers)
        if mail is None:
            self.settle_rest(self._unsendable("sender"))
            return []
        return [mail, *self._recipient_commands(offers, domains)]

    def _unfit(self, offers: Capabilities) -> Failure | None:
        """Why no recipient at all may have the message from this server, or None."""
        envelope, size, limit = self.transaction.envelope, self.transaction.size, offers.size_limit
        if limit is not None and size > limit:
            # RFC 1870 4, 7: the server has said so already, and asking it would change nothing.
            reason = f"message too large for {self._host}: {size} octets, it takes up to {limit}"
            return Failure(reason, Phase.MAIL, self._host, enhanced="5.3.4")
        if envelope.body is Body.BINARY_MIME and not offers.binary_mime:
            # RFC 3030 3: convert or return, but never send. Who wants it converted has done so before (`fitting`).
            reason = f"the message is binary, and {self._host} does not offer BINARYMIME"
            return Failure(reason, Phase.MAIL, self._host, enhanced="5.6.3")
        if envelope.sender is not None and envelope.sender.needs_utf8 and not offers.smtputf8:
            return self._international("sender")
        return None

    def _international(self, whose: str) -> Failure:
        # RFC 6531 3.2, 3.5: an address that is not ASCII never goes to a server without the extension, and nothing may
        # be put in its place.
        reason = f"the {whose}'s address is internationalized, and {self._host} does not offer SMTPUTF8"
        return Failure(reason, Phase.MAIL if whose == "sender" else Phase.RCPT, self._host, enhanced="5.6.7")

    def _recipient_commands(self, offers: Capabilities, domains: set[str]) -> list[bytes]:
        commands: list[bytes] = []
        for recipient in self.transaction.envelope.recipients:
            address = recipient.address
            if address.needs_utf8 and not offers.smtputf8:
                self.outcomes[address] = self._international("recipient")
                continue
            line = rcpt_command(recipient, offers)
            if line is None:
                self.outcomes[address] = self._unsendable("recipient")
            elif self._is_beyond(recipient, offers, domains):
                reason = f"{self._host} announced a limit of recipients"
                self._leave(address, Deferral(reason, Phase.RCPT, Scope.RECIPIENT, self._host, enhanced="4.5.3"))
            else:
                self.asked.append(address)
                domains.add(address.domain)
                commands.append(line)
        return commands

    def _is_beyond(self, recipient: Recipient, offers: Capabilities, domains: set[str]) -> bool:
        """Whether a limit that the server announced has no room for it (RFC 9422 4.2, 4.3)."""
        limits = offers.limits
        if limits.recipients is not None and len(self.asked) >= limits.recipients:
            return True
        return limits.domains is not None and len(domains | {recipient.address.domain}) > limits.domains

    def _leave(self, address: Address, deferral: Deferral) -> None:
        self.left.append(address)
        self.outcomes[address] = deferral

    def sender_answered(self, reply: Reply) -> None:
        """Weigh the reply to MAIL. A refusal settles everyone, those left for another transaction as well."""
        if not reply.is_positive:
            self.sender_refused = True
            judged = judge_reply(reply, Phase.MAIL, self._host)
            self.settle_rest(judged)
            self.outcomes.update(dict.fromkeys(self.left, judged))
            self.left.clear()

    def recipient_answered(self, reply: Reply) -> None:
        """Weigh the reply to the next RCPT."""
        recipient = self.asked[self._answered]
        self._answered += 1
        if reply.is_positive:
            self.accepted.append(recipient)
        elif not self.sender_refused:
            judged = judge_reply(reply, Phase.RCPT, self._host)
            # Behind accepted recipients only: where none was, another transaction would end the same way.
            if self.accepted and reply.enhanced in _TOO_MANY.get(reply.code, ()):
                full = Deferral(judged.reason, Phase.RCPT, Scope.RECIPIENT, self._host, reply, "4.5.3")
                self._leave(recipient, full)
            else:
                self.outcomes[recipient] = judged

    def content_refused(self, reply: Reply, phase: Phase) -> None:
        """Weigh a refusal of DATA or of the content: it holds for all accepted recipients."""
        self.content_was_refused = True
        judged = judge_reply(reply, phase, self._host)
        for recipient in self.accepted:
            self.outcomes.setdefault(recipient, judged)

    def content_accepted(self, reply: Reply) -> None:
        """The server has taken responsibility for all accepted recipients (RFC 5321 4.2.5)."""
        delivered = Delivered(self._host, reply, kind=self._handover, tls=self._tls)
        for recipient in self.accepted:
            self.outcomes[recipient] = delivered

    def content_judged(self, reply: Reply) -> None:
        """Weigh an LMTP server's reply to the content for the next accepted recipient (RFC 2033 4.2)."""
        recipient = self.accepted[self._told]
        self._told += 1
        if reply.is_positive:
            self.outcomes.setdefault(recipient, Delivered(self._host, reply, kind=self._handover, tls=self._tls))
            return
        judged = judge_reply(reply, Phase.END_OF_DATA, self._host)
        if isinstance(judged, Deferral):  # it speaks of one mailbox, not of the message
            judged = replace(judged, scope=Scope.RECIPIENT)
        self.outcomes.setdefault(recipient, judged)

    def settle_rest(self, outcome: Outcome) -> tuple[Address, ...]:
        """Give `outcome` to all who have none; which ones these were. A doubt is only of those who were asked for."""
        addresses = (recipient.address for recipient in self.transaction.envelope.recipients)
        rest = tuple(address for address in addresses if address not in self.outcomes)
        others = outcome.undoubted() if isinstance(outcome, Deferral) else outcome
        for address in rest:
            self.outcomes[address] = outcome if address in self.asked else others
        return rest

    def distrust(self) -> None:
        """Forget what was settled: the replies may have been answers to something else."""
        self.outcomes = {}
        self.left.clear()

    def _unsendable(self, whose: str) -> Deferral:
        reason = f"the {whose}'s address has characters that no SMTP command may hold"
        return Deferral(reason, Phase.RCPT if whose == "recipient" else Phase.MAIL, enhanced="4.1.0")

"""
A mail transaction as a client sees it: what is asked for, and what has become of each recipient so far.

Owns: the commands of the envelope, and how their replies are weighed for each recipient.
Never: sends, waits, or knows in which order replies come.
Fails: never; an address that can't stand in a command is a deferral of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.address import Address
from mta.envelope import Body
from mta.outcome import Deferral, Delivered, Failure, Outcome, Phase, judge_reply
from mta.reply import Reply
from mta.smtp.capabilities import Capabilities


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message for recipients that are distinct; `size` in octets, without dot-stuffing (RFC 1870 3)."""

    sender: Address | None
    recipients: tuple[Address, ...]
    body: Body
    size: int


class Progress:
    """
    A transaction under way at `host`.

    `asked` are the recipients that get a RCPT command, in that order; `accepted` those that got a 2xx for it;
    `outcomes` what is settled. `sender_refused` turns true when MAIL was.
    """

    __slots__ = ("_answered", "_host", "accepted", "asked", "outcomes", "sender_refused", "transaction")

    def __init__(self, transaction: Transaction, host: str) -> None:
        self.transaction = transaction
        self.asked: list[Address] = []
        self.accepted: list[Address] = []
        self.outcomes: dict[Address, Outcome] = {}
        self.sender_refused = False
        self._answered = 0
        self._host = host

    def commands(self, offers: Capabilities) -> list[bytes]:
        """MAIL and a RCPT for each of `asked`; only MAIL, or nothing, where there is nobody to ask for."""
        transaction = self.transaction
        path = "" if transaction.sender is None else str(transaction.sender)
        size = f" SIZE={transaction.size}" if offers.size else ""
        # Without the offer 8-bit content goes as it is, undeclared, as most MTAs send it: a conversion would break its
        # signatures, and a bounce (RFC 6152 3) would help nobody.
        body = " BODY=8BITMIME" if offers.eight_bit_mime and transaction.body is Body.EIGHT_BIT_MIME else ""
        mail = _line(f"MAIL FROM:<{path}>{size}{body}")
        if mail is None:
            self.settle_rest(self._unsendable("sender"))
            return []
        commands = [mail]
        for recipient in transaction.recipients:
            line = _line(f"RCPT TO:<{recipient}>")
            if line is None:
                self.outcomes[recipient] = self._unsendable("recipient")
            else:
                self.asked.append(recipient)
                commands.append(line)
        return commands

    def sender_answered(self, reply: Reply) -> None:
        """Weigh the reply to MAIL. A refusal settles everyone."""
        if not reply.is_positive:
            self.sender_refused = True
            self.settle_rest(judge_reply(reply, Phase.MAIL, self._host))

    def recipient_answered(self, reply: Reply) -> None:
        """Weigh the reply to the next RCPT."""
        recipient = self.asked[self._answered]
        self._answered += 1
        if reply.is_positive:
            self.accepted.append(recipient)
        elif not self.sender_refused:
            self.outcomes[recipient] = self._judge_recipient(reply)

    def _judge_recipient(self, reply: Reply) -> Deferral | Failure:
        judged = judge_reply(reply, Phase.RCPT, self._host)
        # RFC 5321 4.5.3.1.10: a 552 behind accepted recipients is the 452 "too many recipients" of RFC 821. One whose
        # enhanced code says something else (5.2.2, a full mailbox) means what it says.
        too_many = reply.code == 552 and self.accepted and reply.enhanced in (None, "5.5.3")
        if isinstance(judged, Failure) and too_many:
            return Deferral(judged.reason, judged.phase, host=judged.host, reply=reply, enhanced="4.5.3")
        return judged

    def content_refused(self, reply: Reply, phase: Phase) -> None:
        """Weigh a refusal of DATA or of the content: it holds for all accepted recipients."""
        judged = judge_reply(reply, phase, self._host)
        for recipient in self.accepted:
            self.outcomes.setdefault(recipient, judged)

    def content_accepted(self, reply: Reply) -> None:
        """The server has taken responsibility for all accepted recipients (RFC 5321 4.2.5)."""
        delivered = Delivered(self._host, reply)
        for recipient in self.accepted:
            self.outcomes[recipient] = delivered

    def settle_rest(self, outcome: Outcome) -> tuple[Address, ...]:
        """Give `outcome` to all who have none; which ones these were."""
        rest = tuple(recipient for recipient in self.transaction.recipients if recipient not in self.outcomes)
        for recipient in rest:
            self.outcomes[recipient] = outcome
        return rest

    def distrust(self) -> None:
        """Forget what was settled: the replies may have been answers to something else."""
        self.outcomes = {}

    def _unsendable(self, whose: str) -> Deferral:
        reason = f"the {whose}'s address has characters that no SMTP command may hold"
        return Deferral(reason, Phase.RCPT if whose == "recipient" else Phase.MAIL, enhanced="4.1.0")


def _line(text: str) -> bytes | None:
    """A command as a line, or None where it would hold anything but printable ASCII: a CR LF would start another."""
    return f"{text}\r\n".encode("ascii") if text.isascii() and text.isprintable() else None

"""
Answer the questions of a session for which somebody else has to be asked.

Owns: what is made of the spool's answer to ETRN (RFC 1985), and of the DNS's to a recipient's domain (RFC 7505).
Never: holds anybody up for long: what can't be known soon is accepted, and the queue finds out.
Fails: never; a Deferred of this file fires with a verdict.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure as Fault

from mta.address import Address
from mta.destination import Destination
from mta.outcome import Deferral, Failure
from mta.policy.verdict import Verdict
from mta.selection import Selection
from mta.server.listener import Listener
from mta.smtp import message_replies, replies
from mta.smtp.commands import Etrn

# Seconds. A client waits minutes for the reply to RCPT (RFC 5321 4.5.3.2.3), but a hundred of them may be in a row.
DNS_PATIENCE = 5.0

_REFUSED = {"5.1.10": message_replies.DOMAIN_TAKES_NO_MAIL, "5.1.2": message_replies.UNKNOWN_DOMAIN}


def turn(etrn: Etrn, listener: Listener, client: str) -> Verdict | Deferred[Verdict]:
    """ETRN: have what waits for the domain tried now."""
    node, now = str(etrn), listener.clock.seconds()
    if etrn.domain not in listener.etrn_domains:
        return Verdict(replies.TURN_DENIED.fill(domain=node), "relay.etrn_domains")
    if not listener.connections.turn(node, now):
        return Verdict(replies.TURN_TOO_SOON.fill(domain=node), "once a minute")
    wanted = [Selection(domain=etrn.domain)]
    if etrn.below:
        wanted.append(Selection(recipient=f"*@*.{etrn.domain}"))

    def turned(changed: list[list[tuple[int, str]]]) -> Verdict:
        if any(changed):
            listener.queue.due_changed()
        reply = replies.TURNED if any(changed) else replies.NOTHING_WAITS
        return Verdict(reply.fill(domain=node), "ETRN")

    def not_turned(fault: Fault) -> Verdict:
        cause = fault.value.subFailure.value if isinstance(fault.value, FirstError) else fault.value
        reason = f"{type(cause).__name__}: {cause}"
        listener.log("fault", {"listener": listener.name, "client": client, "where": "the spool", "reason": reason})
        return Verdict(replies.TURN_FAILED.fill(domain=node), "ETRN")

    asked = [listener.spool.retry(selection, f"ETRN from {client}", now) for selection in wanted]
    return gatherResults(asked, consumeErrors=True).addCallbacks(turned, not_turned)


def domain_checked(recipient: Address, accepted: Verdict, listener: Listener) -> Verdict | Deferred[Verdict]:
    """
    The verdict on a recipient that the policy has `accepted`, once it is known whether its domain takes mail at all.

    Only where the operator wants that. It asks as the queue will, and the queue finds the answer remembered.
    """
    if listener.locate is None or accepted.recipients:
        return accepted
    located = listener.locate(recipient)
    if not isinstance(located, Deferred):
        return _judged(located, recipient, accepted)
    answered: Deferred[Verdict] = Deferred()
    # The question is not cancelled: the queue will want its answer.
    timer: IDelayedCall = listener.clock.callLater(DNS_PATIENCE, answered.callback, accepted)

    def known(found: Destination | Deferral | Failure | Fault) -> None:
        if timer.active():
            timer.cancel()
            answered.callback(_judged(found, recipient, accepted))

    located.addBoth(known)
    return answered


def _judged(found: Destination | Deferral | Failure | Fault, recipient: Address, accepted: Verdict) -> Verdict:
    """A loop is no matter of the recipient's domain alone, and all else is trouble that may pass: the queue waits."""
    refusal = _REFUSED.get(found.enhanced) if isinstance(found, Failure) else None
    return accepted if refusal is None else Verdict(refusal.fill(recipient=str(recipient)), "relay.check_domains")

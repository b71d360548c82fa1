"""
Answer the questions of a session whose client has authenticated.

Owns: which rule is asked in what order: an authenticated client may relay (RFC 6409 3.3), as itself, within its limits.
Never: is such a rule (`mta/policy/submitters.py`, `mta/policy/relay.py`).
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from mta.address import Address
from mta.identity import Identity
from mta.policy.verdict import Verdict
from mta.server.inquiries import domain_checked
from mta.server.listener import Listener
from mta.smtp import message_replies
from mta.smtp.commands import RcptTo


def submitted_by(sender: Address | None, listener: Listener, identity: Identity) -> Verdict:
    """MAIL: an address of the user's, room on the disk, and one more message."""
    verdict = listener.submitters.may_send_as(identity, sender)
    if not verdict.accepts:
        return verdict
    if not listener.storage_room():
        return Verdict(message_replies.NO_ROOM.reply, "limits.free_space_percent")
    return listener.submitters.message(identity, listener.clock.seconds())


def submitted_to(rcpt: RcptTo, listener: Listener, identity: Identity) -> Verdict | Deferred[Verdict]:
    """RCPT: what the policy says to a client that may relay, then one more recipient."""
    verdict = listener.policy.recipient(rcpt.recipient, True)
    if isinstance(verdict, Deferred):
        return verdict.addCallback(_counted, rcpt, listener, identity)
    return _counted(verdict, rcpt, listener, identity)


def _counted(verdict: Verdict, rcpt: RcptTo, listener: Listener, identity: Identity) -> Verdict | Deferred[Verdict]:
    if not verdict.accepts:
        return verdict
    counted = listener.submitters.recipient(identity, listener.clock.seconds())
    return domain_checked(rcpt.recipient, verdict, listener) if counted.accepts else counted

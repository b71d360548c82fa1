"""
Answer the questions of a session.

Owns: which rule is asked for which question, and in what order.
Never: is such a rule (`mta/policy/`), asks elsewhere (`mta/server/inquiries.py`), keeps anything.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from mta.address import Address
from mta.envelope import Notify
from mta.identity import Identity
from mta.policy.directory import Meaning, Moved
from mta.policy.verdict import Verdict
from mta.reply import Reply
from mta.server.inquiries import domain_checked, turn
from mta.server.listener import Listener
from mta.server.submitting import submitted_by, submitted_to
from mta.smtp import auth_replies, message_replies, replies
from mta.smtp.commands import Etrn, Expand, MailFrom, RcptTo, Verify
from mta.smtp.questions import Question
from mta.table import CouldNotAsk

# A name may stand for a mailbox in each of a thousand domains.
POSSIBILITIES = 10

YES = Verdict(None, "nothing against it")


def answer(
    question: Question,
    listener: Listener,
    client: str,
    trusted: bool,
    sender: Address | None,
    identity: Identity | None = None,
) -> Verdict | Deferred[Verdict]:
    """
    What is said to a question of the client at this address; yes to those that need no rule.

    `sender` is that of the message under way, None where it has none or there is no message. `identity` is who the
    client has authenticated as.
    """
    match question:
        case RcptTo() if identity is not None:
            return submitted_to(question, listener, identity)
        case MailFrom(sender) if identity is not None:
            return submitted_by(sender, listener, identity)
        case RcptTo():
            return _recipient(question, listener, client, trusted, sender)
        case Etrn():
            return turn(question, listener, client)
        case MailFrom():
            return _sender(listener, client, trusted)
        case Verify(name, utf8):
            meaning = listener.policy.directory.meaning(name)
            if isinstance(meaning, Deferred):
                return meaning.addCallback(_verified, utf8)
            return _verified(meaning, utf8)
        case Expand(name, utf8):
            members = listener.policy.directory.expand(name)
            if isinstance(members, Deferred):
                return members.addCallback(_expanded, utf8)
            return _expanded(members, utf8)
    return YES


def _recipient(
    rcpt: RcptTo, listener: Listener, client: str, trusted: bool, sender: Address | None
) -> Verdict | Deferred[Verdict]:
    """First who it is: nobody learns from a limit whether a user exists, and no unknown one uses a limit up."""
    verdict = listener.policy.recipient(rcpt.recipient, trusted)
    if isinstance(verdict, Deferred):
        return verdict.addCallback(_weighed, rcpt, listener, client, trusted, sender)
    return _weighed(verdict, rcpt, listener, client, trusted, sender)


def _weighed(
    verdict: Verdict, rcpt: RcptTo, listener: Listener, client: str, trusted: bool, sender: Address | None
) -> Verdict | Deferred[Verdict]:
    """What the limits and the DNS leave of the policy's verdict."""
    if not verdict.accepts:
        return verdict
    now = listener.clock.seconds()
    # RFC 3461 4.1: of all that NOTIFY asks for, SUCCESS alone makes a report where nothing went wrong. So it is what a
    # stranger would flood a forged sender with, and what a server that takes it has to do. Delays may go untold, and
    # failures are reported in any case. Those whom the operator knows are not held up: they lose the report.
    wants_success = rcpt.notify is not None and Notify.SUCCESS in rcpt.notify
    if wants_success and sender is not None and not trusted and not listener.reports_room(sender, now):
        return Verdict(message_replies.REPORTS_EXHAUSTED.reply, "bounce.rate_per_sender")
    if listener.limits.recipient_rate:
        rate = listener.connections.recipients(client, 1, trusted, now)
        if not rate.accepts:
            return rate
    return domain_checked(rcpt.recipient, verdict, listener)


def _sender(listener: Listener, client: str, trusted: bool) -> Verdict:
    if listener.role == "submission" and not trusted:
        if listener.authentication is not None:
            return Verdict(auth_replies.REQUIRED.reply, "not authenticated")
        return Verdict(message_replies.SUBMISSION_DENIED.reply, "relay.networks")
    if not listener.storage_room():
        return Verdict(message_replies.NO_ROOM.reply, "limits.free_space_percent")
    if listener.limits.message_rate:
        return listener.connections.message(client, trusted, listener.clock.seconds())
    return YES


def _verified(meaning: Meaning | CouldNotAsk, utf8: bool) -> Verdict:
    if isinstance(meaning, CouldNotAsk):
        return Verdict(message_replies.LOOKUP_FAILED.reply, "VRFY")
    return Verdict(_told(meaning, utf8), "VRFY")


def _told(meaning: Meaning, utf8: bool) -> Reply:
    """RFC 5321 3.5.1, 3.5.3: the mailbox, where its user has gone, or why it can't be told."""
    found, resolved = meaning.found, meaning.resolved
    if len(found) > 1:
        return _ambiguous(found, utf8)
    if not found:
        return replies.CANNOT_VERIFY.reply if meaning.elsewhere else replies.UNKNOWN_NAME.reply
    mailbox = str(resolved.new if isinstance(resolved, Moved) else found[0])
    # RFC 6531 3.7.4.2: 252 where the mailbox can't be written in the characters that the client can read.
    if not (utf8 or mailbox.isascii()):
        return replies.CANNOT_WRITE.reply
    if isinstance(resolved, Moved):
        return (message_replies.MOVED_FORWARDED if resolved.forwards else message_replies.MOVED).fill(new=mailbox)
    return replies.VERIFIED.fill(mailbox=mailbox)


def _ambiguous(found: tuple[Address, ...], utf8: bool) -> Reply:
    """RFC 5321 3.5.1: what it may have meant, one a line; as with all else, nothing that the client can't read."""
    readable = [f"<{mailbox}>" for mailbox in found if utf8 or str(mailbox).isascii()]
    told = replies.AMBIGUOUS
    return Reply(told.code, (told.text, *readable[:POSSIBILITIES]), told.enhanced)


def _expanded(members: tuple[Address, ...] | CouldNotAsk | None, utf8: bool) -> Verdict:
    if isinstance(members, CouldNotAsk):
        return Verdict(message_replies.LOOKUP_FAILED.reply, "EXPN")
    return Verdict(_listed(members, utf8), "EXPN")


def _listed(members: tuple[Address, ...] | None, utf8: bool) -> Reply:
    """RFC 5321 3.5.1: the members, one a line."""
    if members is None:
        return replies.UNKNOWN_NAME.reply
    lines = tuple(f"<{member}>" for member in members)
    if not lines:
        return replies.CANNOT_EXPAND.reply
    if not (utf8 or all(map(str.isascii, lines))):
        return replies.CANNOT_WRITE.reply
    return Reply(replies.VERIFIED.code, lines, replies.VERIFIED.enhanced)

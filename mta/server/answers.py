"""
Answer the questions of a session that can be answered at once.

Owns: which rule is asked for which question, and in what order.
Never: is such a rule (`mta/policy/`), waits, keeps anything.
"""

from __future__ import annotations

from mta.policy.directory import Moved
from mta.policy.verdict import Verdict
from mta.reply import Reply
from mta.server.listener import Listener
from mta.smtp import replies
from mta.smtp.commands import Expand, MailFrom, RcptTo, Verify
from mta.smtp.questions import Question

YES = Verdict(None, "nothing against it")


def answer(question: Question, listener: Listener, client: str, trusted: bool) -> Verdict:
    """What is said to a question of the client at this address; yes to those that need no rule."""
    match question:
        case RcptTo(recipient):
            verdict = listener.policy.recipient(recipient, trusted)
            if verdict.accepts and listener.limits.recipient_rate:
                rate = listener.connections.recipients(client, 1, trusted, listener.clock.seconds())
                return verdict if rate.accepts else rate
            return verdict
        case MailFrom():
            return _sender(listener, client, trusted)
        case Verify(name, utf8):
            return Verdict(_verified(listener, name, utf8), "VRFY")
        case Expand(name, utf8):
            return Verdict(_expanded(listener, name, utf8), "EXPN")
    return YES


def _sender(listener: Listener, client: str, trusted: bool) -> Verdict:
    if listener.role == "submission" and not trusted:
        return Verdict(replies.SUBMISSION_DENIED.reply, "relay.networks")
    if not listener.storage_room():
        return Verdict(replies.NO_ROOM.reply, "limits.free_space_percent")
    if listener.limits.message_rate:
        return listener.connections.message(client, trusted, listener.clock.seconds())
    return YES


def _verified(listener: Listener, name: str, utf8: bool) -> Reply:
    """RFC 5321 3.5.1, 3.5.3: the mailbox, where its user has gone, or why it can't be told."""
    directory = listener.policy.directory
    found = directory.verify(name)
    if len(found) > 1:
        return replies.AMBIGUOUS.reply
    if not found:
        return replies.CANNOT_VERIFY.reply if directory.is_elsewhere(name) else replies.UNKNOWN_NAME.reply
    meaning = directory.resolve(found[0])
    mailbox = str(meaning.new if isinstance(meaning, Moved) else found[0])
    # RFC 6531 3.7.4.2: 252 where the mailbox can't be written in the characters that the client can read.
    if not (utf8 or mailbox.isascii()):
        return replies.CANNOT_WRITE.reply
    if isinstance(meaning, Moved):
        return (replies.MOVED_FORWARDED if meaning.forwards else replies.MOVED).fill(new=mailbox)
    return replies.VERIFIED.fill(mailbox=mailbox)


def _expanded(listener: Listener, name: str, utf8: bool) -> Reply:
    """RFC 5321 3.5.1: the members, one a line."""
    members = listener.policy.directory.expand(name)
    if members is None:
        return replies.UNKNOWN_NAME.reply
    lines = tuple(f"<{member}>" for member in members)
    if not lines:
        return replies.CANNOT_EXPAND.reply
    if not (utf8 or all(map(str.isascii, lines))):
        return replies.CANNOT_WRITE.reply
    return Reply(replies.VERIFIED.code, lines, replies.VERIFIED.enhanced)

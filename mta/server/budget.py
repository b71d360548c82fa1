"""
Give a question to a policy a time by which it is answered.

Owns: the verdict where none came in time, or where the policy failed.
Never: asks, or cancels what was asked: others may want its answer.
Fails: never.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mta.policy.verdict import Verdict
from mta.server.listener import Listener
from mta.smtp import replies


def within_budget(
    asked: Deferred[Verdict], listener: Listener, failed: Callable[[Failure, str], None]
) -> Deferred[Verdict]:
    """
    The verdict that `asked` fires with, or 451 where that takes longer than `limits.policy_timeout`.

    A policy that fails is 451, too, and `failed` is told why: the session must go on, and nobody's mail is refused for
    good because of a fault of ours.
    """
    answered: Deferred[Verdict] = Deferred()
    timeout = listener.limits.policy_timeout
    late = Verdict(replies.POLICY_TIMEOUT.reply, "limits.policy_timeout")
    timer: IDelayedCall = listener.clock.callLater(timeout, answered.callback, late)

    def decided(verdict: Verdict | Failure) -> None:
        if isinstance(verdict, Failure):
            failed(verdict, "a policy")
            verdict = Verdict(replies.FAULT.reply, "a fault")
        if timer.active():
            timer.cancel()
            answered.callback(verdict)

    asked.addBoth(decided)
    return answered

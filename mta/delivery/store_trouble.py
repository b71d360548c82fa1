"""
Why a message is not in its mailbox.

Owns: the deferral for each exception that writing into one may raise.
Never: writes; a full disk or a bad path is nobody's fault but ours, and delays mail.
"""

from __future__ import annotations

import errno
import os

from mta.delivery.mailbox import MailboxError
from mta.outcome import Deferral, Outcome, Phase, Scope, judge_exception

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


def not_stored(error: Exception, host: str) -> Outcome:
    """The outcome where `error` was raised; `host` names the mailbox."""
    if isinstance(error, MailboxError):
        return Deferral(str(error), Phase.STORE, Scope.RECIPIENT, host, enhanced=error.enhanced)
    if isinstance(error, OSError):
        words = os.strerror(error.errno) if error.errno else str(error)
        enhanced = "4.3.1" if error.errno in _FULL else "4.3.0"
        return Deferral(f"cannot write to {host}: {words}", Phase.STORE, Scope.OURSELVES, host, enhanced=enhanced)
    return judge_exception(error, Phase.STORE, host)

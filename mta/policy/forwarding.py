"""
Decide with which sender forwarded mail goes on.

Owns: which recipients are forwarded ones, and which senders stay as they are.
Never: reads a clock by itself, forms an address (`mta/policy/srs.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mta.address import Address
from mta.policy.srs import Srs


class Forwarding:
    """
    `ours` are the domains whose senders may leave from here: SPF of theirs is the operator's. `now` gives seconds since
    1970: each attempt signs anew, so that what waited for days can still come back.
    """

    def __init__(self, srs: Srs, ours: Iterable[str], now: Callable[[], float]) -> None:
        self._srs = srs
        self._ours = frozenset(ours)
        self._now = now

    def sender(self, sender: Address | None, recipient: Address, named: str) -> Address | None:
        """
        The sender that stands in the place of `sender` for a recipient; None where it stays as it is.

        `named` is what RCPT named, where `recipient` stands in its place: only then was it forwarded. A bounce has no
        sender, and gets none.
        """
        if sender is None or not named or sender.domain in self._ours or recipient.domain in self._ours:
            return None
        rewritten = self._srs.forward(sender, self._now())
        return None if rewritten == sender else rewritten

"""
Take bounces of forwarded mail back.

Owns: what is said to a recipient that claims to be a sender that we have rewritten.
Never: rewrites a sender (`mta/policy/srs.py`); decides about any other recipient.
Fails: never.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mta.address import Address
from mta.policy.signing import SignatureError
from mta.policy.srs import Srs
from mta.policy.verdict import Verdict
from mta.smtp import message_replies


class Policy(Protocol):
    """What decides about all other recipients; `recipient` may give its verdict later."""

    @property
    def directory(self) -> Any: ...
    def is_trusted(self, ip: str, /) -> bool: ...
    def is_refused(self, ip: str, /) -> bool: ...
    def recipient(self, address: Address, trusted: bool, /) -> Any: ...


class Returning:
    """
    A policy in front of another. `now` gives seconds since 1970.

    Whoever has such an address got it with mail from us: it is taken from anyone, for its signature is the right to.
    """

    def __init__(self, policy: Policy, srs: Srs, now: Callable[[], float]) -> None:
        self._policy = policy
        self._srs = srs
        self._now = now
        self.is_trusted = policy.is_trusted
        self.is_refused = policy.is_refused

    @property
    def directory(self) -> Any:
        return self._policy.directory

    def recipient(self, address: Address, trusted: bool) -> Any:
        """A verdict, or what the policy behind has instead of one."""
        if not self._srs.is_ours(address):
            return self._policy.recipient(address, trusted)
        try:
            back = self._srs.reverse(address, self._now())
        except SignatureError as error:
            return Verdict(message_replies.NOT_FORWARDED.fill(recipient=str(address)), f"SRS: {error}")
        return Verdict(None, "SRS", (back,))

"""
Rewrite the senders of mail that is forwarded (the Sender Rewriting Scheme), and find the way of its bounces back.

Owns: the form of SRS0 and SRS1, as libsrs2 and PostSRSd write and read it.
Never: reads a clock, decides what is forwarded.
Source: M. Wong, S. Nagy and others, "The Sender Rewriting Scheme" (2004); SPF (RFC 7208 D.3) is why it is needed.

``SRS0=hash=day=domain=local@ours`` has the sender; where that is one of another host's, ``SRS1=hash=host==rest@ours``
leads to that host alone, however many are in between.
"""

from __future__ import annotations

import re

from mta.address import MAX_LOCAL, Address
from mta.policy.signing import Keys, SignatureError, age, day

# Bounces come within days; PostSRSd and libsrs2 take them for 21.
MAX_AGE = 21
_SRS0 = re.compile(r"srs0[=+-]([^=]*)=([^=]*)=([^=]*)=(.+)", re.IGNORECASE | re.DOTALL)
_SRS1 = re.compile(r"srs1[=+-]([^=]*)=([^=]*)=(.+)", re.IGNORECASE | re.DOTALL)
_FOREIGN0 = re.compile(r"srs0([=+-].+)", re.IGNORECASE | re.DOTALL)


class Srs:
    """Rewrites to addresses at `domain`, signed with `keys`."""

    def __init__(self, domain: str, keys: Keys, max_age: int = MAX_AGE) -> None:
        self._domain = domain
        self._keys = keys
        self._max_age = max_age

    @property
    def domain(self) -> str:
        """Where the bounces come to."""
        return self._domain

    def forward(self, sender: Address, now: float) -> Address | None:
        """
        The sender of a forwarded message, at `now` in seconds since 1970.

        None where that would be longer than a local part may be: no host would have to take its bounces
        (RFC 5321 4.5.3.1.1), and we would not.
        """
        if sender.domain == self._domain:
            return sender
        if found := _SRS1.fullmatch(sender.local):
            host, rest = found[2], found[3]
            local = f"SRS1={self._keys.sign(host, rest)}={host}={rest}"
        elif foreign := _FOREIGN0.fullmatch(sender.local):
            local = f"SRS1={self._keys.sign(sender.domain, foreign[1])}={sender.domain}={foreign[1]}"
        else:
            stamp = day(now)
            signature = self._keys.sign(stamp, sender.domain, sender.local)
            local = f"SRS0={signature}={stamp}={sender.domain}={sender.local}"
        return Address(local, self._domain) if len(local.encode("utf-8", "replace")) <= MAX_LOCAL else None

    def is_ours(self, address: Address) -> bool:
        """Whether an address claims to be one that `forward` has made."""
        return address.domain == self._domain and address.local[:4].lower() in ("srs0", "srs1")

    def reverse(self, address: Address, now: float) -> Address:
        """Whom a bounce to such an address is for. Raises `SignatureError`."""
        if found := _SRS0.fullmatch(address.local):
            signature, stamp, domain, local = found.groups()
            self._keys.check(signature, stamp, domain, local)
            if age(stamp, now) > self._max_age:
                raise SignatureError("has a time stamp that is out of date")
            return Address(local, domain.lower())
        if found := _SRS1.fullmatch(address.local):
            signature, host, rest = found.groups()
            self._keys.check(signature, host, rest)
            return Address(f"SRS0{rest}", host.lower())
        raise SignatureError("is not complete")

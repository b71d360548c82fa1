"""
Envelope senders that name the recipient (VERP), so that whoever gets a bounce knows whose it is.

Owns: the form ``list+alice=example.org=DDSSSS@ours``: DD the day, SSSS a signature, without which anybody could have
anybody else taken off a list.
Never: reads a clock, decides which mail gets one.
Source: D. J. Bernstein, "Variable Envelope Return Paths" (1997).
"""

from __future__ import annotations

from mta.address import MAX_LOCAL, Address
from mta.policy.signing import LENGTH, Keys, SignatureError, age, day

# A mailing list's bounces are counted for longer than those of a forwarded message.
MAX_AGE = 60


class Verp:
    """Signs with `keys`; `delimiter` stands between the list and the recipient, as it does before an extension."""

    def __init__(self, keys: Keys, delimiter: str = "+", max_age: int = MAX_AGE) -> None:
        self._keys = keys
        self._delimiter = delimiter
        self._max_age = max_age

    def encode(self, sender: Address, recipient: Address, now: float) -> Address | None:
        """The sender of the copy for a recipient; None where it would be longer than a local part may be."""
        stamp = day(now)
        signature = self._keys.sign(stamp, str(sender), str(recipient))
        local = f"{sender.local}{self._delimiter}{recipient.local}={recipient.domain}={stamp}{signature}"
        return Address(local, sender.domain) if len(local.encode("utf-8", "replace")) <= MAX_LOCAL else None

    def decode(self, address: Address, now: float) -> tuple[Address, Address]:
        """The sender and the recipient behind such an address. Raises `SignatureError`."""
        rest, _, tail = address.local.rpartition("=")
        before, _, domain = rest.rpartition("=")
        stamp, signature = tail[:2], tail[2:]
        if len(signature) != LENGTH or not before or not domain:
            raise SignatureError("is not complete")
        # A delimiter may be in the names on both sides: the signature tells which one it is.
        place = before.find(self._delimiter)
        while place > 0:
            sender = Address(before[:place], address.domain)
            recipient = Address(before[place + len(self._delimiter) :], domain.lower())
            place = before.find(self._delimiter, place + 1)
            try:
                self._keys.check(signature, stamp, str(sender), str(recipient))
            except SignatureError:
                if place > 0:
                    continue
                raise
            if age(stamp, now) > self._max_age:
                raise SignatureError("has a time stamp that is out of date")
            return sender, recipient
        raise SignatureError("is not complete")

"""
What SRS and VERP share: short signatures of addresses, and the day they were made.

Owns: keys and their rotation, the alphabet of days.
Never: reads a clock; knows the form of an address.

A signature of four letters is 24 bits: enough where each guess is a RCPT that counts as an error, and all that a local
part of 64 octets has room for.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

# Days are counted modulo 1024, in two letters: almost three years.
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SLOTS = 1024
_DAY = 86_400
LENGTH = 4


class SignatureError(ValueError):
    """An address that we have not signed, or not lately; the text says which, for the log."""


def day(now: float) -> str:
    """The day of a time in seconds since 1970, in two letters."""
    number = int(now // _DAY) % _SLOTS
    return _ALPHABET[number >> 5] + _ALPHABET[number & 31]


def age(text: str, now: float) -> int:
    """How many days ago a day was; one to come is almost three years ago. Raises `SignatureError` where it is none."""
    letters = text.upper()
    if len(letters) != 2 or not set(letters) <= set(_ALPHABET):
        raise SignatureError("has no time stamp")
    number = (_ALPHABET.index(letters[0]) << 5) + _ALPHABET.index(letters[1])
    return (int(now // _DAY) - number) % _SLOTS


class Keys:
    """The first of `secrets` signs; what one of the others has signed is still good. There is one at least."""

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or not all(secrets):
            raise ValueError("there must be a secret, and none of them empty")
        self._secrets = [secret.encode() for secret in secrets]

    def sign(self, *parts: str) -> str:
        """The signature of the parts, whose case does not count: a host on the way may change it."""
        return _signature(self._secrets[0], parts)

    def check(self, signature: str, *parts: str) -> None:
        """
        Raises `SignatureError` where none of our keys has signed the parts.

        The case of the signature does not count, as the SRS paper asks. All keys are tried in the same time.
        """
        given = signature.lower().encode("utf-8", "replace")
        good = [hmac.compare_digest(given, _signature(secret, parts).lower().encode()) for secret in self._secrets]
        if not any(good):
            raise SignatureError("has a signature that is not ours")


def _signature(secret: bytes, parts: Sequence[str]) -> str:
    digest = hmac.new(secret, "".join(parts).lower().encode("utf-8", "replace"), "sha1").digest()
    return base64.b64encode(digest).decode()[:LENGTH]

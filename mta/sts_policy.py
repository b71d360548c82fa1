"""
An MTA-STS policy (RFC 8461) as a value.

Owns: what a policy says, which mail hosts it allows (4.1), and the texts in which a domain publishes it (3.1, 3.2).
Never: reads what others publish (`mta/tls/sts_text.py`), or fetches and keeps it (`mta/tls/sts.py`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum

# RFC 8461 3.2: "plaintext non-negative integer seconds, maximum value of 31557600": a year.
MAX_AGE = 31_557_600
# The id of a TXT record has at most 32 characters (RFC 8461 3.1); half of them tell any two policies apart.
_ID_LENGTH = 16
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_NAME = 253


class Mode(Enum):
    """What a sender does about a host that does not satisfy the policy (RFC 8461 5)."""

    ENFORCE = "enforce"  # no delivery to it
    TESTING = "testing"  # delivery, and a report where TLSRPT is wanted
    NONE = "none"  # as without a policy


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """
    The policy of a domain.

    `mx` are patterns in lower case, without a trailing dot; `max_age` in seconds; `id` is that of the TXT record.
    """

    mode: Mode
    mx: tuple[str, ...]
    max_age: int
    id: str

    @property
    def is_enforced(self) -> bool:
        """Whether mail must not go to a host that does not satisfy it."""
        return self.mode is Mode.ENFORCE

    def matches(self, mx_host: str) -> bool:
        """Whether a mail host is among those that the policy names; its certificate is another question (4.2)."""
        host = mx_host.lower().removesuffix(".")
        # RFC 8461 4.1: the wildcard is one whole label, the left-most: not none, and not two.
        _, _, parent = host.partition(".")
        return host in self.mx or (bool(parent) and not host.startswith(".") and f"*.{parent}" in self.mx)

    def text(self) -> str:
        """The policy file (RFC 8461 3.2), with CRLF."""
        lines = ["version: STSv1", f"mode: {self.mode.value}", *(f"mx: {pattern}" for pattern in self.mx)]
        return "".join(f"{line}\r\n" for line in [*lines, f"max_age: {self.max_age}"])

    def record(self) -> str:
        """The TXT record of ``_mta-sts`` (RFC 8461 3.1)."""
        return f"v=STSv1; id={self.id};"


def is_pattern(text: str) -> bool:
    """Whether `text`, in lower case, may stand behind ``mx:``: a host name, or one below "*."."""
    name = text.removeprefix("*.")
    return len(name) <= _MAX_NAME and _HOST.fullmatch(name) is not None


def own_policy(mode: Mode, mx: tuple[str, ...], max_age: int) -> StsPolicy:
    """A policy to publish: its id follows from what it says, so that it changes exactly when the policy does."""
    digest = hashlib.sha256(StsPolicy(mode, mx, max_age, "").text().encode("ascii")).hexdigest()
    return StsPolicy(mode, mx, max_age, digest[:_ID_LENGTH])

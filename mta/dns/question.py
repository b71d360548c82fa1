"""
A question to the DNS, checked before it is asked.

Owns: which names and record types can be asked for, and what is answered without asking.
Never: sends anything.
Fails: never; a name that can't be asked gets its `Answer` here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.lookup import Answer, Status

KINDS = frozenset(("MX", "A", "AAAA", "CNAME", "TXT", "PTR", "TLSA"))

# RFC 1035 2.3.4: 255 octets on the wire are 253 characters of text.
MAX_NAME = 253
MAX_LABEL = 63

# The DNS itself takes any octet, but a name from an SMTP command or an MX record has no use for white space, controls
# or octets above ASCII, and a resolver's log should not see them.
_PRINTABLE = re.compile(r"[!-~]+")

# How long a server's silence is remembered: long enough to spare it a thousand messages for one domain, short enough
# to be forgotten before the first retry. RFC 2308 7.1 allows up to five minutes.
FAULT_TTL = 5


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `name` in lower case without the trailing dot, `kind` one of `KINDS`."""

    name: str
    kind: str


def could_not_ask(reason: str) -> Answer:
    """The fourth outcome, to be remembered for a few seconds."""
    return Answer(Status.COULD_NOT_ASK, ttl=FAULT_TTL, reason=reason)


def question_from(name: str, kind: str) -> Question | Answer:
    """
    The question for a name as a caller has it, or the answer where it can't be asked.

    A label or name that is too long for the DNS (RFC 1035 2.3.4) or has an empty label can't exist anywhere, so
    NXDOMAIN is the truth, and the sender learns of the typing error at once. Characters that we refuse to ask for are
    another matter: such a name might exist (as A-labels), so the message waits.
    """
    name = name.removesuffix(".").lower()
    if kind not in KINDS:
        return could_not_ask(f"record type {kind!r} is not supported")
    if not _PRINTABLE.fullmatch(name):
        return could_not_ask("the name is empty or holds characters that have no place in a domain name")
    if len(name) > MAX_NAME:
        return _impossible(f"the name is longer than {MAX_NAME} characters")
    labels = name.split(".")
    if not all(labels):
        return _impossible("the name has an empty label")
    if any(len(label) > MAX_LABEL for label in labels):
        return _impossible(f"the name has a label longer than {MAX_LABEL} characters")
    return Question(name, kind)


def _impossible(reason: str) -> Answer:
    return Answer(Status.NXDOMAIN, ttl=FAULT_TTL, reason=f"{reason}, so it cannot exist (RFC 1035 2.3.4)")

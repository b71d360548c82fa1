"""
Answers of the DNS as values.

Owns: the four outcomes of a question, and the records that mail needs.
Never: asks (that is `mta/dns/`), or decides what an outcome means for a message (`mta/routing/mx.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """The four outcomes; the last one never bounces anything."""

    ANSWER = "answer"
    NODATA = "nodata"  # the name exists, but has no record of this type
    NXDOMAIN = "nxdomain"  # the name does not exist (RFC 2308 2.1)
    COULD_NOT_ASK = "could-not-ask"  # SERVFAIL, REFUSED, time-out, garbage


@dataclass(frozen=True, slots=True)
class MX:
    """An MX record: the exchange is lower case without the trailing dot, "" for the null MX (RFC 7505)."""

    preference: int
    exchange: str


Record = MX | str | bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The answer to one question.

    `records` are `MX` values for MX, text for A, AAAA, PTR and CNAME (addresses and names), bytes for TXT and TLSA.
    `ttl` in seconds; `reason` says in words why there are no records. `secure`: a resolver that we trust has validated
    all of it by DNSSEC, the aliases and what does not exist included. `canonical` is the name at which the aliases
    ended, "" where there were none.
    """

    status: Status
    records: tuple[Record, ...] = ()
    ttl: int = 0
    secure: bool = False
    reason: str = ""
    canonical: str = ""

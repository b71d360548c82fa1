"""
What is counted for reports on TLS (TLSRPT, RFC 8460).

Owns: the words of the reports, and the values that travel from a connection to its place in one.
Never: decides what a connection may carry, writes a report (`mta/tls/tlsrpt_report.py`) or sends one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

SECONDS_OF_DAY = 86_400
# A reason that a stranger's words are part of; longer ones tell nobody more.
MAX_REASON = 200


class PolicyType(Enum):
    """What a session was held against (RFC 8460 4.4)."""

    STS = "sts"
    TLSA = "tlsa"
    NONE = "no-policy-found"


class Result(Enum):
    """What was wrong with a session (RFC 8460 4.3)."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    HOST_MISMATCH = "certificate-host-mismatch"
    EXPIRED = "certificate-expired"
    NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a server's certificate is worth: `result` None where nothing is wrong, `reason` in words."""

    result: Result | None = None
    reason: str = ""


FINE = Finding()


@dataclass(frozen=True, slots=True)
class Session:
    """
    What became of TLS in one session: `finding` FINE is a success.

    `sending_ip` is our address, `host` the mail host's name as the DNS has it, `helo` what it called itself, `ip` its
    address; "" where it is not known.
    """

    finding: Finding = FINE
    sending_ip: str = ""
    host: str = ""
    helo: str = ""
    ip: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """
    A policy as a report tells of it (RFC 8460 4.4).

    `strings` are as the domain published it, `domain` is whose it is, `mx` are the patterns of hosts in an
    MTA-STS policy.
    """

    type: PolicyType
    domain: str
    strings: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """Failed sessions that are alike, and how many there were."""

    session: Session
    count: int


@dataclass(frozen=True, slots=True)
class Tally:
    """The sessions of a day under one policy."""

    policy: Applied
    successes: int
    failures: int
    details: tuple[Counted, ...] = ()


def day_of(seconds: float) -> int:
    """The day, counted from 1970 in UTC, that a time in seconds since then falls into (RFC 8460 4.1)."""
    return int(seconds // SECONDS_OF_DAY)

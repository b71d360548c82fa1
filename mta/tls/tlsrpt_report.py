"""
Write a report on TLS for programs (RFC 8460 4.4), and what it is called (5.1).

Owns: the JSON, its gzip form, the name of the file, the id.
Never: counts sessions, sends anything, reads a clock.
Fails: never.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mta.address import Address
from mta.tls_report import SECONDS_OF_DAY, Applied, Counted, PolicyType, Tally

# Digits of the id: enough that no two reports of a submitter are called the same.
_ID_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who reports: `contact` is whom to ask, and its domain names us in all places (RFC 8460 5.3)."""

    organization: str
    contact: Address

    @property
    def domain(self) -> str:
        return self.contact.domain


@dataclass(frozen=True, slots=True)
class TlsReport:
    """The report on a policy domain for a day, counted from 1970 in UTC."""

    submitter: Submitter
    domain: str
    day: int
    tallies: Sequence[Tally]

    @property
    def id(self) -> str:
        """
        The same for the same domain and day whoever makes the report: of two that came in spite of all, the receiver
        ignores one by it (RFC 8460 5.3). It fits into "<...>" of a Subject, as a message id.
        """
        return f"{_date(self.day)}.{self._digits}@{self.submitter.domain}"

    @property
    def file_name(self) -> str:
        """RFC 8460 5.1, with the optional unique-id."""
        begin, end = self.day * SECONDS_OF_DAY, (self.day + 1) * SECONDS_OF_DAY - 1
        return f"{self.submitter.domain}!{self.domain}!{begin}!{end}!{self._digits}.json.gz"

    @property
    def _digits(self) -> str:
        text = f"{self.submitter.domain} {self.domain} {self.day}"
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:_ID_LENGTH]

    def fields(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "organization-name": self.submitter.organization,
            # RFC 8460 4.1: a full day, from 00:00 to 24:00 UTC; Appendix B writes its last second.
            "date-range": {
                "start-datetime": f"{_date(self.day)}T00:00:00Z",
                "end-datetime": f"{_date(self.day)}T23:59:59Z",
            },
            "contact-info": str(self.submitter.contact),
            "report-id": self.id,
            "policies": [_policy(tally) for tally in self.tallies],
        }

    def compressed(self) -> bytes:
        """RFC 8460 5.2: gzip. The same report gives the same octets."""
        return gzip.compress(json.dumps(self.fields(), separators=(",", ":")).encode("ascii"), mtime=0)


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * SECONDS_OF_DAY, UTC).strftime("%Y-%m-%d")


def _policy(tally: Tally) -> dict[str, Any]:
    said: dict[str, Any] = {
        "policy": _applied(tally.policy),
        "summary": {
            "total-successful-session-count": tally.successes,
            "total-failure-session-count": tally.failures,
        },
    }
    if tally.details:
        said["failure-details"] = [_failure(counted) for counted in tally.details]
    return said


def _applied(policy: Applied) -> dict[str, Any]:
    said: dict[str, Any] = {"policy-type": policy.type.value, "policy-domain": policy.domain}
    if policy.type is not PolicyType.NONE:
        said["policy-string"] = list(policy.strings)
    if policy.mx:
        said["mx-host"] = list(policy.mx)
    return said


def _failure(counted: Counted) -> dict[str, Any]:
    session = counted.session
    optional = {
        "sending-mta-ip": session.sending_ip,
        "receiving-mx-hostname": session.host,
        "receiving-mx-helo": session.helo,
        "receiving-ip": session.ip,
    }
    result, reason = session.finding.result, session.finding.reason
    return {
        "result-type": result.value if result else "",
        **{name: value for name, value in optional.items() if value},
        "failed-session-count": counted.count,
        **({"failure-reason-code": reason} if reason else {}),
    }

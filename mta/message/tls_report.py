"""
Write the message that carries a report on TLS (RFC 8460 5.3).

Owns: its fields, its two parts.
Never: makes the report, or sends it.
"""

from __future__ import annotations

from base64 import encodebytes
from dataclasses import dataclass

from mta.address import Address
from mta.message.folding import header_fields
from mta.message.mime_part import part
from mta.message.trace import date


@dataclass(frozen=True, slots=True)
class Letter:
    """
    What the message says: the report is on `domain`, made by `submitter` with the id `report_id` (LEFT@RIGHT), is
    called `file_name`, and `report` are its octets, in gzip.
    """

    sender: Address
    to: Address
    domain: str
    submitter: str
    report_id: str
    day: str
    file_name: str
    report: bytes


def tls_report_message(letter: Letter, *, now: float, message_id: str) -> bytes:
    """The whole message, in 7 bits with CRLF; `message_id` is the part before "@", `now` seconds since 1970."""
    text = (
        f"This is an aggregate report on TLS (RFC 8460) from {letter.submitter}:\r\n"
        f"how sessions with the mail hosts of {letter.domain} went on {letter.day} (UTC).\r\n"
    )
    attached = encodebytes(letter.report).replace(b"\n", b"\r\n")
    name = [("Content-Disposition", f'attachment;\n filename="{letter.file_name}"')]
    parts = [
        part("text/plain; charset=us-ascii", "7bit", text.encode("ascii", "replace")),
        part("application/tlsrpt+gzip", "base64", attached, name),
    ]
    # No line of base64 or of the text begins with "=_" (RFC 2045 6.7 makes it impossible in what is encoded).
    boundary = f"=_{message_id}"
    fields = [
        ("From", f"<{letter.sender}>"),
        ("To", f"<{letter.to}>"),
        # RFC 8460 5.3: tlsrpt-subject.
        ("Subject", f"Report Domain: {letter.domain} Submitter: {letter.submitter} Report-ID: <{letter.report_id}>"),
        ("Date", date(now)),
        ("Message-ID", f"<{message_id}@{letter.submitter}>"),
        ("TLS-Report-Domain", letter.domain),
        ("TLS-Report-Submitter", letter.submitter),
        # RFC 8689 3: nobody on its way is to keep it back for the trouble that it tells of.
        ("TLS-Required", "No"),
        ("Auto-Submitted", "auto-generated"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type="tlsrpt";\n boundary="{boundary}"'),
    ]
    delimiter = f"\r\n--{boundary}".encode("ascii")
    body = b"".join(delimiter + b"\r\n" + each for each in parts)
    return header_fields(fields) + b"\r\n" + body.removeprefix(b"\r\n") + delimiter + b"--\r\n"

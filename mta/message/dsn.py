"""
Write the report that tells a sender what became of a message.

Owns: the message as a whole: RFC 6522 (multipart/report), RFC 6533 (its international form), RFC 3834 (automatic
responses). The part for people is of `dsn_text.py`, that for programs of `dsn_status.py`, the original in it of
`returned.py`.
Never: decides whether a report is due, sends it, or trusts what it quotes: hostile replies and originals can neither
add a field nor end a part.
Fails: never.
"""

from __future__ import annotations

import re
from binascii import b2a_qp
from collections.abc import Sequence
from dataclasses import dataclass

from mta.address import Address
from mta.message import dsn_text
from mta.message.dsn_status import ReportedMessage, ReportedRecipient, delivery_status
from mta.message.folding import Fields, header_fields, unstructured
from mta.message.headers import field, header_block
from mta.message.mime_part import encoding_of, part
from mta.message.returned import OriginalContent, normalized, returned
from mta.message.templates import Language
from mta.message.trace import date

# RFC 5322 3.6.4 without its obsolete forms: the only text of the original that goes into a field of ours.
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}@[!-;=?-~]{1,250}>")


@dataclass(frozen=True, slots=True)
class Report:
    """
    A complete message: lines of at most 998 octets that end in CRLF.

    `utf8`: its header is UTF-8, so that it takes SMTPUTF8 to send it (RFC 6533 4).
    """

    data: bytes
    utf8: bool


def report(
    *,
    reporting_mta: str,
    report_id: str,
    report_from: Address,
    to: Address,
    now: float,
    message: ReportedMessage,
    recipients: Sequence[ReportedRecipient],
    original: OriginalContent | None,
    languages: Sequence[Language],
    is_double: bool = False,
) -> Report:
    """
    The report on `recipients` (one or more) of `message`, for `to`.

    `report_id` is the report's own queue id, `now` in seconds since 1970, `original` None where it can't be read;
    `is_double`: `message` is a report itself, and `to` is no sender but who looks after such. International is only
    what goes to an international address: any other must arrive where SMTPUTF8 is not known, and has 7 bits, unless
    the original has 8 and can be converted. Nothing is left to chance: the same arguments make the same bytes.
    """
    utf8 = to.needs_utf8
    if report_from.needs_utf8 and not utf8:
        report_from = Address("postmaster", reporting_mta)  # RFC 5321 4.5.1: there always is one
    quoted = normalized(original) if original else None
    text = dsn_text.explanation(
        languages,
        reporting_mta=reporting_mta,
        report_from=report_from,
        message=message,
        recipients=recipients,
        is_double=is_double,
    )
    status = delivery_status(reporting_mta, message, recipients, utf8=utf8)
    parts = [
        _text_part(text, languages, utf8),
        part("message/global-delivery-status" if utf8 else "message/delivery-status", encoding_of(status), status),
    ]
    if quoted:
        parts.append(returned(quoted, utf8=utf8))
    boundary = _boundary(report_id, parts)
    fields = [
        ("From", f"Mail Delivery System <{report_from}>"),
        ("To", f"<{to}>"),
        ("Subject", unstructured(dsn_text.subject(languages, recipients, is_double=is_double))),
        ("Date", date(now)),
        ("Message-ID", f"<{report_id}@{reporting_mta}>"),
        *_threading(header_block(quoted.data) if quoted else b""),
        # RFC 3834 5: vacation programs and other MTAs must not answer it.
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        # RFC 2045 6.4: the whole is declared no less than its parts.
        ("Content-Transfer-Encoding", encoding_of(b"".join(parts))),
        ("Content-Type", f'multipart/report; report-type=delivery-status; boundary="{boundary}"'),
    ]
    delimiter = f"\r\n--{boundary}".encode("ascii")
    preamble = b"This is a delivery status notification in MIME format (RFC 3464).\r\n"
    body = b"".join(delimiter + b"\r\n" + each for each in parts)
    return Report(header_fields(fields, utf8=utf8) + b"\r\n" + preamble + body + delimiter + b"--\r\n", utf8)


def _text_part(text: str, languages: Sequence[Language], utf8: bool) -> bytes:
    """
    The text: plain where it is ASCII, as it is where the whole is international.

    Else a reply in another language is quoted in UTF-8, but in 7 bits: the report must pass where 8BITMIME is not
    offered.
    """
    wire = text.replace("\n", "\r\n").encode("utf-8", "replace")
    language = [("Content-Language", ", ".join(each.tag for each in languages))]  # RFC 3282 2
    if wire.isascii():
        return part("text/plain; charset=us-ascii", "7bit", wire, language)
    if utf8:
        return part("text/plain; charset=utf-8", "8bit", wire, language)
    return part("text/plain; charset=utf-8", "quoted-printable", b2a_qp(wire), language)


def _threading(headers: bytes) -> Fields:
    """RFC 3834 3.1.6: the fields that put the report beside the message it is about."""
    found = _MESSAGE_ID.fullmatch(field(headers, b"Message-ID") or "")
    return [("In-Reply-To", found[0]), ("References", found[0])] if found else []


def _boundary(report_id: str, parts: Sequence[bytes]) -> str:
    """A delimiter that no line of the parts begins with. The original may hold our first choice: ids can be guessed."""
    attempt = 0
    while True:
        boundary = f"=_{report_id}.{attempt}"
        if not any(b"--" + boundary.encode("ascii", "replace") in each for each in parts):
            return boundary
        attempt += 1

"""
Write the report that tells a sender what became of a message.

Owns: the message as a whole: RFC 6522 (multipart/report), RFC 6533 (its international form), RFC 3834 (automatic
responses), and the original in it. The part for people is of `dsn_text.py`, that for programs of `dsn_status.py`.
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
from mta.message.folding import MAX_LINE, Fields, header_fields, unstructured
from mta.message.headers import field, header_block
from mta.message.templates import Language
from mta.message.trace import date

# RFC 5322 3.6.4 without its obsolete forms: the only text of the original that goes into a field of ours.
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}@[!-;=?-~]{1,250}>")
_LONE_CR = re.compile(rb"\r(?!\n)")
_LONE_LF = re.compile(rb"(?<!\r)\n")


@dataclass(frozen=True, slots=True)
class OriginalContent:
    """What goes along of the original message: all of it, or its header section."""

    data: bytes
    is_whole: bool


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
    `is_double`: `message` is a report itself, and `to` is no sender but who looks after such. In 7 bits, unless the
    original is not or the report is international. Nothing is left to chance: the same arguments make the same bytes.
    """
    utf8 = message.utf8 or to.needs_utf8 or any(_needs_utf8(each) for each in recipients)
    quoted = _normalised(original) if original else None
    headers = header_block(quoted) if quoted is not None else b""
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
        _part("message/global-delivery-status" if utf8 else "message/delivery-status", _encoding(status), status),
    ]
    if original and quoted is not None:
        body = quoted if original.is_whole else headers
        parts.append(_part(_ORIGINAL_TYPE[original.is_whole, utf8], _encoding(body), body))
    boundary = _boundary(report_id, parts)
    fields = [
        ("From", f"Mail Delivery System <{report_from}>"),
        ("To", f"<{to}>"),
        ("Subject", unstructured(dsn_text.subject(languages, recipients, is_double=is_double))),
        ("Date", date(now)),
        ("Message-ID", f"<{report_id}@{reporting_mta}>"),
        *_threading(headers),
        # RFC 3834 5: vacation programs and other MTAs must not answer it.
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        # RFC 2045 6.4: the whole is declared no less than its parts.
        ("Content-Transfer-Encoding", _encoding(b"".join(parts))),
        ("Content-Type", f'multipart/report; report-type=delivery-status; boundary="{boundary}"'),
    ]
    delimiter = f"\r\n--{boundary}".encode("ascii")
    preamble = b"This is a delivery status notification in MIME format (RFC 3464).\r\n"
    body = b"".join(delimiter + b"\r\n" + part for part in parts)
    return Report(header_fields(fields, utf8=utf8) + b"\r\n" + preamble + body + delimiter + b"--\r\n", utf8)


# (whole, international) -> RFC 6522 3, RFC 6533 4
_ORIGINAL_TYPE = {
    (True, False): "message/rfc822",
    (False, False): "text/rfc822-headers",
    (True, True): "message/global",
    (False, True): "message/global-headers",
}


def _needs_utf8(reported: ReportedRecipient) -> bool:
    return reported.address.needs_utf8 or not reported.recipient.orcpt.isascii()


def _text_part(text: str, languages: Sequence[Language], utf8: bool) -> bytes:
    """
    The text: plain where it is ASCII, as it is where the whole is international.

    Else a reply in another language is quoted in UTF-8, but in 7 bits: the report must pass where 8BITMIME is not
    offered.
    """
    wire = text.replace("\n", "\r\n").encode("utf-8", "replace")
    language = [("Content-Language", ", ".join(each.tag for each in languages))]  # RFC 3282 2
    if wire.isascii():
        return _part("text/plain; charset=us-ascii", "7bit", wire, language)
    if utf8:
        return _part("text/plain; charset=utf-8", "8bit", wire, language)
    return _part("text/plain; charset=utf-8", "quoted-printable", b2a_qp(wire), language)


def _threading(headers: bytes) -> Fields:
    """RFC 3834 3.1.6: the fields that put the report beside the message it is about."""
    found = _MESSAGE_ID.fullmatch(field(headers, b"Message-ID") or "")
    return [("In-Reply-To", found[0]), ("References", found[0])] if found else []


def _normalised(original: OriginalContent) -> bytes:
    """
    The original as it may stand in a message of ours.

    Lines end in CRLF and have at most 998 octets. A lone CR becomes a space, which makes no line that was not there; a
    NUL, which no encoding but base64 may hold (RFC 2045 2.8), becomes a question mark.
    """
    data = original.data.replace(b"\0", b"?")
    data = _LONE_LF.sub(b"\r\n", _LONE_CR.sub(b" ", data))
    if data and not data.endswith(b"\r\n"):
        data += b"\r\n"
    return b"\r\n".join(_cut(line) if len(line) > MAX_LINE else line for line in data.split(b"\r\n"))


def _cut(line: bytes) -> bytes:
    """A long line in pieces, each but the first after a space: a field stays one, as Postfix does it."""
    size = MAX_LINE - 1
    return b"\r\n ".join(line[start : start + size] for start in range(0, len(line), size))


def _encoding(data: bytes) -> str:
    return "7bit" if data.isascii() else "8bit"


def _part(content_type: str, encoding: str, body: bytes, more: Fields = ()) -> bytes:
    """A MIME part, without its delimiter."""
    described = [("Content-Type", content_type), ("Content-Transfer-Encoding", encoding), *more]
    return header_fields(described) + b"\r\n" + body


def _boundary(report_id: str, parts: Sequence[bytes]) -> str:
    """A delimiter that no line of the parts begins with. The original may hold our first choice: ids can be guessed."""
    attempt = 0
    while True:
        boundary = f"=_{report_id}.{attempt}"
        if not any(b"--" + boundary.encode("ascii", "replace") in part for part in parts):
            return boundary
        attempt += 1

"""
Write the report that tells a sender what could not be delivered.

Owns: RFC 3464 (delivery status), RFC 6522 (multipart/report) and RFC 3834 (automatic responses), and the words for
people.
Never: decides whether a report is due, sends it, or trusts what it quotes: hostile replies and originals can neither
add a field nor end a part.
Fails: never.
"""

from __future__ import annotations

import re
import textwrap
from binascii import b2a_qp
from collections.abc import Sequence
from dataclasses import dataclass

from mta.address import Address
from mta.message.headers import field, header_block
from mta.message.trace import date
from mta.outcome import Deferral, Failure

# RFC 5322 2.1.1, without CRLF: what every line should and must stay within.
_WIDTH = 78
_MAX_LINE = 998
# A reply of more than this tells nobody anything; the peer decides how long it is.
_MAX_QUOTE = 2000
# Words with the spaces before them; bounded, so that each fits into a line of the message.
_CHUNKS = re.compile(r" {0,40}[^ ]{1,500}")

# RFC 5322 3.6.4 without its obsolete forms: the only text of the original that goes into a field of ours.
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}@[!-;=?-~]{1,250}>")
_HOST = re.compile(r"([A-Za-z0-9._-]*)\[([0-9A-Fa-f.:]+)\]")
_NOT_PRINTABLE = re.compile(r"[^ -~]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONE_CR = re.compile(rb"\r(?!\n)")
_LONE_LF = re.compile(rb"(?<!\r)\n")


@dataclass(frozen=True, slots=True)
class FailedRecipient:
    """
    A recipient that is given up.

    `outcome` is that of the last attempt: a `Failure`, or the `Deferral` that stood when the lifetime ended.
    `attempted` is the time of that attempt, in seconds since 1970.
    """

    address: Address
    outcome: Failure | Deferral
    attempted: float


@dataclass(frozen=True, slots=True)
class OriginalContent:
    """What goes along of the undelivered message: all of it, or its header section."""

    data: bytes
    is_whole: bool


def failure_report(
    *,
    reporting_mta: str,
    queue_id: str,
    report_id: str,
    arrived: float,
    now: float,
    sender: Address,
    report_from: Address,
    failures: Sequence[FailedRecipient],
    original: OriginalContent | None,
) -> bytes:
    """
    A complete message to `sender`: lines of at most 998 octets that end in CRLF, 7-bit unless the original is not.

    `queue_id` is the undelivered message's, `report_id` the report's own; `arrived` and `now` are in seconds since
    1970; `original` None where it can't be read. Nothing is left to chance: the same arguments make the same bytes.
    """
    quoted = _normalised(original) if original else None
    headers = header_block(quoted) if quoted is not None else b""
    parts = [
        _part(*_text_part(_explanation(reporting_mta, arrived, now, report_from, failures, original))),
        _part("message/delivery-status", "7bit", _status(reporting_mta, queue_id, sender, arrived, failures)),
    ]
    if original and quoted is not None:
        kind = "message/rfc822" if original.is_whole else "text/rfc822-headers"
        parts.append(_part(kind, _encoding(quoted), quoted if original.is_whole else headers))
    boundary = _boundary(report_id, parts)
    subject = failures[0].address if len(failures) == 1 else f"{len(failures)} recipients"
    fields = [
        ("From", f"Mail Delivery System <{report_from}>"),
        ("To", f"<{sender}>"),
        ("Subject", f"Undelivered Mail: {subject}"),
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
    return _fields(fields) + b"\r\n" + preamble + body + delimiter + b"--\r\n"


def _explanation(
    reporting_mta: str,
    arrived: float,
    now: float,
    report_from: Address,
    failures: Sequence[FailedRecipient],
    original: OriginalContent | None,
) -> str:
    """What a person wants to know: what happened, to whom, and what to do."""
    whom = "the recipient" if len(failures) == 1 else f"{len(failures)} recipients"
    paragraphs = [
        f"This is the mail system at {reporting_mta}.",
        f"The message that you sent on {date(arrived)} could not be delivered to {whom} below. "
        "No further attempt will be made.",
    ]
    paragraphs = [textwrap.fill(_quoted(text), _WIDTH - 2) for text in paragraphs]
    for failed in failures:
        reason = _quoted(failed.outcome.reason)
        if isinstance(failed.outcome, Deferral):
            tried = _duration(now - arrived)
            reason = f"It was tried for {tried} without success. The last attempt ended with: {reason}"
        paragraphs.append(f"{_quoted(f'<{failed.address}>')}\n{_indented(reason)}")
    advice = (
        "Please check the address, and what is said about it above. If this does not help you, "
        f"write to {report_from} and include this report."
    )
    attached = {None: "", True: ", then your message", False: ", then the headers of your message"}
    technical = f"Below are the same details for programs{attached[original.is_whole if original else None]}."
    paragraphs += [textwrap.fill(_quoted(text), _WIDTH - 2) for text in (advice, technical)]
    return "\n\n".join(paragraphs) + "\n"


def _duration(seconds: float) -> str:
    """The time that was spent, in the unit that people would use."""
    for unit, length in (("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 60) / 60:.0f} minutes"


def _text_part(text: str) -> tuple[str, str, bytes]:
    """
    Content type, encoding and bytes of a text: plain where it is ASCII.

    A reply in another language is quoted in UTF-8, but in 7 bits: the report must pass where 8BITMIME is not offered.
    """
    wire = text.replace("\n", "\r\n").encode("utf-8", "replace")
    if wire.isascii():
        return "text/plain; charset=us-ascii", "7bit", wire
    return "text/plain; charset=utf-8", "quoted-printable", b2a_qp(wire)


def _status(
    reporting_mta: str, queue_id: str, sender: Address, arrived: float, failures: Sequence[FailedRecipient]
) -> bytes:
    """The message/delivery-status part: fields of the message, then those of each recipient (RFC 3464 2.1)."""
    message = [
        ("Reporting-MTA", f"dns; {reporting_mta}"),
        ("X-MTA-Queue-ID", queue_id),
        ("X-MTA-Sender", f"rfc822; {sender}"),
        ("Arrival-Date", date(arrived)),
    ]
    return b"\r\n".join([_fields(message), *(_fields(_recipient_fields(failed)) for failed in failures)])


def _recipient_fields(failed: FailedRecipient) -> list[tuple[str, str]]:
    outcome = failed.outcome
    fields = [
        ("Final-Recipient", f"rfc822; {failed.address}"),
        ("Action", "failed"),
        ("Status", _status_code(outcome)),
    ]
    if outcome.reply is None:
        # RFC 3464 2.3.6: a diagnostic that no peer sent must not be called "smtp".
        return [*fields, ("Diagnostic-Code", f"x-mta; {outcome.reason}"), ("Last-Attempt-Date", date(failed.attempted))]
    if outcome.host:
        fields.append(("Remote-MTA", f"dns; {_host_name(outcome.host)}"))
    fields.append(("Diagnostic-Code", f"smtp; {outcome.reply}"))
    return [*fields, ("Last-Attempt-Date", date(failed.attempted))]


def _status_code(outcome: Failure | Deferral) -> str:
    """The enhanced code; where the last attempt has none that says anything, that the time is over (RFC 3463 3.5)."""
    if isinstance(outcome, Deferral) and outcome.enhanced == "4.0.0":
        return "4.4.7"
    return outcome.enhanced


def _host_name(host: str) -> str:
    """A host of an outcome, "name[ip]:port", as a name of type "dns" (RFC 3464 2.1.2): the name, else "[ip]"."""
    found = _HOST.match(host)
    if not found:
        return host
    name, ip = found.groups()
    return name if name and name != ip else f"[{ip}]"


def _threading(headers: bytes) -> list[tuple[str, str]]:
    """RFC 3834 3.1.4: the fields that put the report beside the message it is about."""
    found = _MESSAGE_ID.fullmatch(field(headers, b"Message-ID") or "")
    return [("In-Reply-To", found[0]), ("References", found[0])] if found else []


def _fields(fields: Sequence[tuple[str, str]]) -> bytes:
    """Header fields, sanitised and folded."""
    return b"".join(_folded(_NOT_PRINTABLE.sub("?", _quoted(f"{name}: {value}"))) for name, value in fields)


def _folded(text: str) -> bytes:
    """
    One field, folded at its spaces (RFC 5322 2.2.3): unfolding gives the same text.

    A word too long for any line is cut, and of a long run of spaces the last are kept: nothing of ours has these.
    """
    line, *chunks = _CHUNKS.findall(text)
    lines = []
    for chunk in chunks:
        if len(line) + len(chunk) > _WIDTH:
            lines.append(line)
            line = chunk if chunk.startswith(" ") else f" {chunk}"
        else:
            line += chunk
    return "".join(f"{each}\r\n" for each in (*lines, line)).encode("ascii")


def _quoted(text: str) -> str:
    """Text from elsewhere as one line of bounded length, without controls."""
    return _CONTROLS.sub(" ", text[:_MAX_QUOTE])


def _indented(text: str) -> str:
    """A paragraph that nobody takes for ours. A word too long for a line is cut."""
    return textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


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
    return b"\r\n".join(_cut(line) if len(line) > _MAX_LINE else line for line in data.split(b"\r\n"))


def _cut(line: bytes) -> bytes:
    """A long line in pieces, each but the first after a space: a field stays one, as Postfix does it."""
    size = _MAX_LINE - 1
    return b"\r\n ".join(line[start : start + size] for start in range(0, len(line), size))


def _encoding(data: bytes) -> str:
    return "7bit" if data.isascii() else "8bit"


def _part(content_type: str, encoding: str, body: bytes) -> bytes:
    """A MIME part, without its delimiter."""
    described = [("Content-Type", content_type), ("Content-Transfer-Encoding", encoding)]
    return _fields(described) + b"\r\n" + body


def _boundary(report_id: str, parts: Sequence[bytes]) -> str:
    """A delimiter that no line of the parts begins with. The original may hold our first choice: ids can be guessed."""
    attempt = 0
    while True:
        boundary = f"=_{report_id}.{attempt}"
        if not any(b"--" + boundary.encode("ascii", "replace") in part for part in parts):
            return boundary
        attempt += 1

"""
Write the part of a report that programs read.

Owns: what a report is about, as values, and their fields in message/delivery-status (RFC 3464) and
message/global-delivery-status (RFC 6533).
Never: decides whether a report is due, or trusts what it quotes.
Fails: never.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mta import xtext
from mta.address import Address
from mta.envelope import Recipient
from mta.message.folding import Fields, encoded_words, header_fields
from mta.message.trace import date
from mta.outcome import Deferral, Delivered, Failure, Outcome

_HOST = re.compile(r"([A-Za-z0-9._-]*)\[([0-9A-Fa-f.:]+)\]")


class Action(Enum):
    """What became of a recipient (RFC 3464 2.3.3); the gravest first, which is the one a subject speaks of."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    EXPANDED = "expanded"
    DELIVERED = "delivered"

    @property
    def gravity(self) -> int:
        """Its place in a report: the smaller, the graver."""
        return _GRAVITY[self]


_GRAVITY = {action: place for place, action in enumerate(Action)}


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """
    A recipient and what the sender is told of it.

    `outcome` is that of the last attempt, None where there was none (expanded); of a failed one a `Failure`, or the
    `Deferral` that stood when the lifetime ended. `attempted` and `retry_until` (of a delayed one) in seconds since
    1970.
    """

    recipient: Recipient
    action: Action
    outcome: Outcome | None = None
    attempted: float | None = None
    retry_until: float | None = None

    @property
    def address(self) -> Address:
        return self.recipient.address


@dataclass(frozen=True, slots=True)
class ReportedMessage:
    """
    The message that a report is about.

    `arrived` in seconds since 1970; `received_from` is what its client called itself, "" where not known; `envid` as in
    `mta.envelope.Envelope`.
    """

    queue_id: str
    arrived: float
    sender: Address | None
    received_from: str = ""
    envid: str = ""


def delivery_status(
    reporting_mta: str, message: ReportedMessage, recipients: Sequence[ReportedRecipient], *, utf8: bool
) -> bytes:
    """
    The fields of the message, then those of each recipient, blank lines between (RFC 3464 2.1).

    Beyond ASCII only with `utf8`. Without it addresses are embedded (RFC 6533 3), and words encoded (RFC 2047 5).
    """
    groups = [
        _message_fields(reporting_mta, message, utf8),
        *(_recipient_fields(message, each, utf8) for each in recipients),
    ]
    return b"\r\n".join(header_fields(group, utf8=utf8) for group in groups)


def _message_fields(reporting_mta: str, message: ReportedMessage, utf8: bool) -> Fields:
    fields = []
    if message.envid:
        fields.append(("Original-Envelope-Id", message.envid))  # RFC 3461 6.3: as it was before xtext
    fields.append(("Reporting-MTA", f"dns; {reporting_mta}"))
    if message.received_from:
        fields.append(("Received-From-MTA", f"dns; {message.received_from}"))
    fields += [("Arrival-Date", date(message.arrived)), ("X-MTA-Queue-ID", message.queue_id)]
    if message.sender is not None:
        fields.append(("X-MTA-Sender", _typed(message.sender, utf8)))
    return fields


def _recipient_fields(message: ReportedMessage, reported: ReportedRecipient, utf8: bool) -> Fields:
    fields = []
    kind, semicolon, original = reported.recipient.orcpt.partition(";")
    if semicolon:  # RFC 3461 6.3 (d): only where the sender gave ORCPT
        is_embedded = kind == "utf-8" and not utf8
        fields.append(("Original-Recipient", f"{kind}; {xtext.encode_utf8(original) if is_embedded else original}"))
    fields += [
        ("Final-Recipient", _typed(reported.address, utf8)),
        ("Action", reported.action.value),
        ("Status", _status_code(reported)),
    ]
    if reported.outcome is not None:
        fields += _diagnosis(reported.outcome, utf8)
    if reported.attempted is not None:
        fields.append(("Last-Attempt-Date", date(reported.attempted)))
    if reported.outcome is None or reported.outcome.reply is None:
        # RFC 3464 2.3.8: of the last MTA that had it, so that where a peer has spoken ours would be the wrong one.
        fields.append(("Final-Log-ID", message.queue_id))
    if reported.retry_until is not None:
        fields.append(("Will-Retry-Until", date(reported.retry_until)))
    return fields


def _typed(address: Address, utf8: bool) -> str:
    """
    An address with its type: utf-8 only where it needs to be.

    RFC 6533 3: in message/delivery-status such an address must be utf-8-addr-xtext, in the international form it should
    be as it is.
    """
    if not address.needs_utf8:
        return f"rfc822; {address}"
    return f"utf-8; {address if utf8 else xtext.encode_utf8(str(address))}"


def _diagnosis(outcome: Outcome, utf8: bool) -> Fields:
    """Who said what; all lines of a reply are kept, each on a line."""
    if outcome.reply is not None:
        name = _host_name(outcome.host or "")
        remote = [("Remote-MTA", f"dns; {name}")] if name else []
        return [*remote, ("Diagnostic-Code", _words(f"smtp; {outcome.reply.raw}", utf8))]
    if isinstance(outcome, Delivered):
        return []  # `host` may be a path of ours
    # RFC 3461 9.2: a diagnostic that no peer sent must not be called "smtp".
    return [("Diagnostic-Code", _words(f"x-mta; {outcome.reason}", utf8))]


def _words(text: str, utf8: bool) -> str:
    """Lines of text; without `utf8` what is not ASCII in them as encoded words, which RFC 2047 5 allows in *text."""
    return text if utf8 else "\n".join(map(encoded_words, text.split("\n")))


def _status_code(reported: ReportedRecipient) -> str:
    """The enhanced code; of an expired one whose code says nothing, that time ran out (RFC 3463 3.5)."""
    outcome = reported.outcome
    if isinstance(outcome, Failure | Deferral):
        is_vague = reported.action is Action.FAILED and outcome.enhanced == "4.0.0"
        return "4.4.7" if is_vague else outcome.enhanced
    enhanced = outcome.reply.enhanced if outcome is not None and outcome.reply is not None else None
    return enhanced if enhanced is not None and enhanced.startswith("2.") else "2.0.0"


def _host_name(host: str) -> str:
    """
    A host of an outcome, "name[ip]:port", as a name of type "dns" (RFC 3461 9.3): the name, else "[ip]".

    "" for anything else: the path of a UNIX socket is nobody's name, and no business of the sender's.
    """
    found = _HOST.match(host)
    if not found:
        return ""
    name, ip = found.groups()
    return name if name and name != ip else f"[{ip}]"

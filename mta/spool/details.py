"""
What stands in the columns of details, as JSON: what a sender said beside the paths (SMTPUTF8, DSN, REQUIRETLS),
aliases, events.

Owns: its words, and how it becomes text that SQLite takes.
Never: touches the database. Details that can't be read raise ValueError, TypeError, KeyError or AttributeError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from mta.address import parse_address
from mta.envelope import Envelope, Notify, Recipient

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=str).encode


def storable(text: str) -> str:
    """The text without lone surrogates: the name of a file in an exception has them, and SQLite takes none."""
    return text.encode("utf-8", "replace").decode("utf-8")


def encoded(details: Mapping[str, Any]) -> str:
    """Details as text."""
    try:
        # The same text, in a fifth of the time: each message has three of them.
        return to_json(details, fallback=str, inf_nan_mode="constants").decode()
    except PydanticSerializationError:  # a lone surrogate, or bytes that are no UTF-8
        return storable(_encode(details))


def message_details(envelope: Envelope) -> str | None:
    """
    What the sender said beside the paths, in MAIL or of TLS in the header, and the aliases expanded, as JSON; None
    where there is nothing, as usual.
    """
    said = envelope.utf8 or envelope.ret or envelope.envid or envelope.expanded
    if not (said or envelope.require_tls or envelope.tls_report):
        return None
    details: dict[str, Any] = {
        "utf8": envelope.utf8,
        "ret": envelope.ret.value if envelope.ret else None,
        "envid": envelope.envid,
    }
    if envelope.expanded:
        details["expanded"] = [{"address": str(item.address), **_said(item)} for item in envelope.expanded]
    if envelope.require_tls is not None:
        details["require_tls"] = envelope.require_tls.value
    if envelope.tls_report:
        details["tls_report"] = True
    return encoded(details)


def recipient_details(recipient: Recipient) -> str | None:
    """What RCPT said beside the path, or the path where another stands for it, as JSON; None where there is nothing."""
    if recipient.notify is None and not recipient.orcpt and not recipient.named:
        return None
    return encoded(_said(recipient))


def _said(recipient: Recipient) -> dict[str, Any]:
    notify = None if recipient.notify is None else sorted(when.value for when in recipient.notify)
    return {"notify": notify, "orcpt": recipient.orcpt, "named": recipient.named}


def notify_in(details: dict[str, Any]) -> frozenset[Notify] | None:
    """NOTIFY in the details of a recipient."""
    notify = details.get("notify")
    return None if notify is None else frozenset(map(Notify, notify))


def alias_in(details: dict[str, Any]) -> Recipient:
    """An alias that was expanded, in the details of a message."""
    address = parse_address(details["address"], utf8=True)
    return Recipient(address, notify_in(details), str(details.get("orcpt") or ""))


def decoded(text: str | None) -> dict[str, Any]:
    """Details read back, {} where there are none. Raises ValueError, which JSON's own error is, too."""
    details = json.loads(text) if text else {}
    if not isinstance(details, dict):
        raise ValueError("details are no JSON object")
    return details

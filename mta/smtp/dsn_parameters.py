"""
Read the parameters that ask for delivery reports (RFC 3461 4).

Owns: the grammar of RET and ENVID of MAIL, of NOTIFY and ORCPT of RCPT.
Never: decides on a report.
Fails: `ValueError` for a value that breaks the grammar.
"""

from __future__ import annotations

import re

from mta import xtext
from mta.envelope import Notify, Ret

# RFC 3461 4.4 and 4.2: of the value as it stands in the command.
MAX_ENVID = 100
MAX_ORCPT = 500

_RETS = {ret.value: ret for ret in Ret}
_NOTIFY = {notify.value: notify for notify in Notify}
_NEVER = frozenset((Notify.NEVER,))
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}")
# Both come back in the header of a report: nothing that could end a line there.
_PRINTABLE = re.compile(r"[ -~]+")
_PRINTABLE_UTF8 = re.compile(r"[ -~\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]+")


def read_ret(value: str) -> Ret:
    """What a report on failure returns of the message (RFC 3461 4.3)."""
    try:
        return _RETS[value.upper()]
    except KeyError:
        raise ValueError("RET is FULL or HDRS") from None


def read_envid(value: str) -> str:
    """The sender's name for the transaction, decoded (RFC 3461 4.4)."""
    if len(value) > MAX_ENVID:
        raise ValueError(f"ENVID is longer than {MAX_ENVID} octets")
    envid = xtext.decode(value)
    if not _PRINTABLE.fullmatch(envid):
        raise ValueError("ENVID is not printable ASCII")
    return envid


def read_notify(value: str) -> frozenset[Notify]:
    """When the sender wants reports: NEVER alone, or a list of the others (RFC 3461 4.1)."""
    words = value.upper().split(",")
    try:
        notify = frozenset(_NOTIFY[word] for word in words)
    except KeyError:
        raise ValueError("NOTIFY is NEVER, or of SUCCESS, FAILURE and DELAY") from None
    if len(notify) != len(words) or (Notify.NEVER in notify and notify != _NEVER):
        raise ValueError("NOTIFY names NEVER alone, and each other word once")
    return notify


def read_orcpt(value: str, utf8: bool) -> str:
    """
    The original recipient as "type;address", decoded (RFC 3461 4.2); beyond ASCII, as type utf-8, where `utf8`.

    RFC 6533 3: with SMTPUTF8 an address of type utf-8 may come as it is, without it embedded in ASCII.
    """
    if len(value.encode("utf-8", "surrogateescape")) > MAX_ORCPT:
        raise ValueError(f"ORCPT is longer than {MAX_ORCPT} octets")
    kind, semicolon, encoded = value.partition(";")
    if not semicolon or not _ADDRESS_TYPE.fullmatch(kind):
        raise ValueError("ORCPT is type;address")
    kind = kind.lower()
    if kind == "utf-8":
        if not utf8 and not encoded.isascii():
            raise ValueError("ORCPT is not ASCII")
        address, allowed = xtext.decode_utf8(encoded), _PRINTABLE_UTF8
    else:
        address, allowed = xtext.decode(encoded), _PRINTABLE
    if not allowed.fullmatch(address):
        raise ValueError("ORCPT is not printable")
    return f"{kind};{address}"

"""
Write an envelope as commands, with the parameters that the server offered.

Owns: MAIL and RCPT as a client says them (RFC 1870, 3030, 3461, 6152, 6531, 8689).
Never: decides whether a message may go to a server at all; that is `mta/smtp/transaction.py`.
Fails: never; a command that could not be one line is None.
"""

from __future__ import annotations

import re

from mta import xtext
from mta.address import Address
from mta.envelope import Body, Envelope, Notify, Recipient, RequireTls
from mta.smtp.capabilities import Capabilities

# All that can start another command, or that no server takes for text: controls (of C1 as well) and surrogates.
_UNSENDABLE = re.compile(r"[^ -~\u00a0-\ud7ff\ue000-\U0010ffff]")
_BODIES = {Body.EIGHT_BIT_MIME: " BODY=8BITMIME", Body.BINARY_MIME: " BODY=BINARYMIME"}
_MAX_ORCPT = 500  # RFC 3461 4.2
_NOTIFY_ORDER = tuple(Notify)
# RFC 6533 3: the one type of address that has an encoding of its own.
_UTF8_TYPE = "utf-8"


def mail_command(envelope: Envelope, size: int, offers: Capabilities) -> bytes | None:
    """MAIL; `size` in octets as RFC 1870 5 counts them."""
    words = [f"MAIL FROM:<{envelope.sender or ''}>"]
    if offers.size:
        words.append(f" SIZE={size}")
    if offers.eight_bit_mime or envelope.body is Body.BINARY_MIME:
        words.append(_BODIES.get(envelope.body, ""))
    if offers.smtputf8 and needs_or_has_utf8(envelope):
        words.append(" SMTPUTF8")
    if offers.requiretls and envelope.require_tls is RequireTls.YES:
        words.append(" REQUIRETLS")
    if offers.dsn:
        if envelope.ret is not None:
            words.append(f" RET={envelope.ret.value}")
        if envelope.envid:
            words.append(f" ENVID={xtext.encode(envelope.envid)}")
    return _line("".join(words), offers)


def rcpt_command(recipient: Recipient, offers: Capabilities) -> bytes | None:
    """RCPT for one recipient."""
    command = f"RCPT TO:<{recipient.address}>"
    return _line(command + _what_is_reported(recipient) if offers.dsn else command, offers)


def needs_or_has_utf8(envelope: Envelope) -> bool:
    """Whether SMTPUTF8 belongs to it: its sender said so, or an address has no ASCII form (RFC 6531 3.4)."""
    return envelope.utf8 or any(map(_is_international, (envelope.sender, *envelope.recipients)))


def _is_international(who: Address | Recipient | None) -> bool:
    address = who.address if isinstance(who, Recipient) else who
    return address is not None and address.needs_utf8


def _what_is_reported(recipient: Recipient) -> str:
    """NOTIFY and ORCPT (RFC 3461 5.2.1: both go on as they came)."""
    words = ""
    if recipient.notify:
        words = " NOTIFY=" + ",".join(when.value for when in _NOTIFY_ORDER if when in recipient.notify)
    original = recipient.orcpt
    if not original and (words or recipient.named):
        # RFC 3461 5.2.1 (d): who comes after us may rewrite the address; the report shall name the one we were told.
        named = recipient.named or str(recipient.address)
        original = f"{'rfc822' if named.isascii() else _UTF8_TYPE};{named}"
    if original:
        kind, _, address = original.partition(";")
        value = f"{kind};{(xtext.encode_utf8 if kind.lower() == _UTF8_TYPE else xtext.encode)(address)}"
        if len(value) <= _MAX_ORCPT:  # what came as UTF-8 grows; a report without it is better than none of the mail
            words += f" ORCPT={value}"
    return words


def _line(text: str, offers: Capabilities) -> bytes | None:
    """A command as a line, or None where it can't be one."""
    if _UNSENDABLE.search(text) or not (offers.smtputf8 or text.isascii()):
        return None
    return f"{text}\r\n".encode()

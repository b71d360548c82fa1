"""
Complete a message that a local user hands in, as sendmail does.

Owns: which fields a submitted message may lack (RFC 6409 8) and what they become: Date, From, Message-ID; the domain of
a From or Sender that is a local part alone.
Never: changes another field that is there, touches the body, reads a clock.
Fails: never; what is no header field ends the header.
"""

from __future__ import annotations

import re
from email.utils import formataddr

from mta.address import Address
from mta.message.trace import date

# A header block longer than the limit of DEFAULTS 2 passes as it is: memory is bounded, and no mail program writes one.
MAX_HEADER = 256 * 1024

# Atomic, so that a hostile header costs one pass (RFC 5322 2.2 and 2.2.3; 4.5 for space before the colon).
_FIELDS = re.compile(rb"(?>(?:[!-9;-~]++[\t ]*+:[^\n]*+\n(?>(?:[\t ][^\n]*+\n)*))*)")
_NAME = re.compile(rb"^([!-9;-~]++)[\t ]*+:", re.MULTILINE)
# RFC 5322 3.4.1: nothing but a dot-atom, on one line. What holds anything else stays: it may be meant another way.
_ATOM = rb"[!#-'*+/-9=?A-Z^-~-]++"
_UNQUALIFIED = re.compile(
    rb"^(?:from|sender)[\t ]*+:[\t ]*+(<)?(?>(?:" + _ATOM + rb"\.)*)" + _ATOM + rb"(?=(?(1)>)[\t ]*+\r?\n(?![\t ]))",
    re.MULTILINE | re.IGNORECASE,
)


class Completion:
    """
    Streams one message through and puts the missing fields in front of its header, our domain to names without one.

    `sender` None is the null reverse-path; `full_name` goes into From; `at` is seconds since 1970; `identity` is the
    left half of a new Message-ID.
    """

    def __init__(self, *, sender: Address | None, full_name: str, hostname: str, identity: str, at: float) -> None:
        # The null reverse-path has no mailbox; the postmaster answers for it (RFC 5321 4.5.1).
        mailbox = str(sender or Address("postmaster", hostname))
        self._added = {
            b"date": f"Date: {date(at)}\r\n",
            b"from": f"From: {_from(full_name, mailbox)}\r\n",
            b"message-id": f"Message-ID: <{identity}@{hostname}>\r\n",
        }
        self._domain = b"@" + hostname.encode()
        self._held = bytearray()
        self._done = False

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the message, in lines that end in CRLF; what may be passed on so far."""
        if self._done:
            return data
        # The blank line may lie across the border of two pieces; looking back three octets finds it, and no more.
        begin = max(len(self._held) - 3, 0)
        self._held += data
        ended = self._held.find(b"\r\n\r\n", begin) >= 0 or self._held.startswith(b"\r\n")
        if not ended and len(self._held) < MAX_HEADER:
            return b""
        return self._release(ended)

    def finish(self) -> bytes:
        """All that is still held back, when the message has ended."""
        return b"" if self._done else self._release(True)

    def _release(self, ended: bool) -> bytes:
        self._done = True
        held, self._held = bytes(self._held), bytearray()
        found = _FIELDS.match(held)
        end = found.end() if found else 0
        if not ended and held.find(b"\n", end) < 0:
            return held  # still inside the header, at the limit
        present = {name.lower() for name in _NAME.findall(held[:end])}
        added = "".join(field for name, field in self._added.items() if name not in present).encode()
        # A text without a header, as `echo hello | mail` writes it, is a body, and needs the blank line before it.
        blank = b"" if held.startswith(b"\r\n", end) else b"\r\n"
        # RFC 6409 4.2, 8: a domain that leaves is fully qualified.
        header = _UNQUALIFIED.sub(lambda name: name[0] + self._domain, held[:end])
        return added + header + blank + held[end:]


def _from(full_name: str, mailbox: str) -> str:
    """A mailbox with its display name, encoded where it needs to be (RFC 2047); controls can't add a field."""
    name = "".join(character for character in full_name if character.isprintable())
    return formataddr((name, mailbox)) if mailbox.isascii() and name else f"<{mailbox}>"

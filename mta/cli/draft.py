"""
A message as a local program writes it on standard input, made fit for the spool.

Owns: line ends, the lone dot, and the recipients in the header (`sendmail -t`).
Never: adds a field; the daemon does.
Fails: ValueError for a header whose recipients can't be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email import policy
from email.errors import MessageError
from email.parser import BytesHeaderParser
from typing import BinaryIO

# The fields with recipients; those of a resent message replace the first three (RFC 5322 3.6.6).
_FIELDS = ("to", "cc", "bcc")
_RESENT = ("resent-to", "resent-cc", "resent-bcc")
_BLIND = re.compile(rb"^(?:resent-)?bcc[\t ]*+:[^\n]*+\n(?>(?:[\t ][^\n]*+\n)*)", re.IGNORECASE | re.MULTILINE)

# A header longer than this names more recipients than a message may have.
MAX_HEADER = 1 << 20


def copy_lines(source: Iterable[bytes], target: BinaryIO, *, dot_ends: bool) -> int:
    """
    Copy a message in lines that end in CRLF, however they ended; how many octets that made.

    `dot_ends`: a line with a dot alone ends it, as sendmail has it without -i.
    """
    size = 0
    for line in source:
        # A CR that is not part of a line end is one (old Macs); a bare one would not leave this host.
        text = line.removesuffix(b"\n").removesuffix(b"\r").replace(b"\r", b"\r\n")
        if dot_ends and text == b".":
            break
        size += target.write(text + b"\r\n")
    return size


def take_header(draft: BinaryIO) -> bytes:
    """The header of the message at the start of `draft`, which is left behind it, at the blank line."""
    draft.seek(0)
    lines: list[bytes] = []
    size = 0
    while (line := draft.readline(MAX_HEADER)) not in (b"", b"\r\n"):
        size += len(line)
        if size > MAX_HEADER:
            raise ValueError(f"the header is longer than {MAX_HEADER} octets")
        lines.append(line)
    draft.seek(size)
    return b"".join(lines)


def recipients_in(header: bytes) -> list[str]:
    """The addresses in To, Cc and Bcc, or in their Resent- forms where there are any. Raises ValueError."""
    try:
        fields = BytesHeaderParser(policy=policy.default).parsebytes(header)
        names = _RESENT if any(name in fields for name in _RESENT) else _FIELDS
        return [
            address.addr_spec for name in names for field in fields.get_all(name, ()) for address in field.addresses
        ]
    except (MessageError, ValueError, AttributeError, IndexError, LookupError, TypeError) as error:
        # The standard library's parser raises all of these on damaged addresses.
        raise ValueError(f"cannot read the recipients in the header: {error}") from error


def without_blind(header: bytes) -> bytes:
    """The header without Bcc: who gets it there must not be seen by the others (RFC 5322 3.6.3)."""
    return _BLIND.sub(b"", header)

"""
Tell mail that a program or a list sent from mail that a person waits for.

Owns: the fields that say so.
Never: decides what follows from it.
"""

from __future__ import annotations

from mta.message.headers import field

# RFC 2919 3, RFC 2369 3: lists say so themselves.
_LIST_FIELDS = (b"List-Id", b"List-Post", b"List-Help", b"List-Unsubscribe", b"List-Subscribe")
# No RFC defines it, RFC 2076 3.9 lists it, and every list manager and vacation program knows it.
_BULK = frozenset(("bulk", "list", "junk"))


def is_automatic(headers: bytes) -> bool:
    """Whether a header section is that of automatic (RFC 3834 5) or list mail: nobody waits for news of its delay."""
    submitted = field(headers, b"Auto-Submitted")
    if submitted is not None and submitted.partition(";")[0].partition("(")[0].strip().lower() != "no":
        return True
    precedence = field(headers, b"Precedence")
    if precedence is not None and precedence.strip().lower() in _BULK:
        return True
    return any(field(headers, name) is not None for name in _LIST_FIELDS)

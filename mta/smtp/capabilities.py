"""
What a server offers, from its answer to EHLO.

Owns: the keywords that a client of ours uses (RFC 1870, RFC 2920, RFC 6152).
Never: fails; a keyword with a parameter that makes no sense is one without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.reply import Reply

# RFC 1870 3: 1*20DIGIT. Any longer text of digits is refused here before it reaches int().
_SIZE = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The offers; the default is a server that knows only HELO. `size_limit` in octets, None for no fixed limit."""

    pipelining: bool = False
    eight_bit_mime: bool = False
    size: bool = False
    size_limit: int | None = None


def capabilities_from(hello: Reply) -> Capabilities:
    """The capabilities in a positive reply to EHLO: its first line is the name, each other one a keyword."""
    offers: dict[str, str] = {}
    for line in hello.lines[1:]:
        keyword, _, parameters = line.strip().partition(" ")
        offers[keyword.upper()] = parameters.strip()
    limit = int(offers["SIZE"]) if _SIZE.fullmatch(offers.get("SIZE", "")) else 0
    return Capabilities(
        pipelining="PIPELINING" in offers,
        eight_bit_mime="8BITMIME" in offers,
        size="SIZE" in offers,
        size_limit=limit or None,  # RFC 1870 4: zero says that there is no fixed maximum
    )

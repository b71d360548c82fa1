"""
What a server offers, from its answer to EHLO or LHLO.

Owns: the keywords that a client of ours uses (RFC 1870, 2920, 3030, 3207, 3461, 4954, 6152, 6531, 8689, 9422).
Never: fails; a keyword with a parameter that makes no sense is one without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.reply import Reply

# RFC 1870 3: 1*20DIGIT. Any longer text of digits is refused here before it reaches int().
_SIZE = re.compile(r"[0-9]{1,20}")
# RFC 9422 3: a limit is 1 to 999999, and what is ill-formed is ignored.
_LIMIT = re.compile(r"(MAILMAX|RCPTMAX|RCPTDOMAINMAX)=([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What a server lets a client do (RFC 9422 4): transactions in a session (`mails`), recipients in a transaction,
    different domains of recipients in a session. None is no limit told.
    """

    mails: int | None = None
    recipients: int | None = None
    domains: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The offers; the default is a server that knows only HELO. `size_limit` in octets, None for no fixed limit."""

    pipelining: bool = False
    eight_bit_mime: bool = False
    size: bool = False
    size_limit: int | None = None
    chunking: bool = False
    binary_mime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    requiretls: bool = False
    auth: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS


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
        size_limit=limit or None,  # RFC 1870 3: zero says that there is no fixed maximum
        chunking="CHUNKING" in offers,
        # RFC 3030 3: it is of no use without CHUNKING.
        binary_mime="BINARYMIME" in offers and "CHUNKING" in offers,
        smtputf8="SMTPUTF8" in offers,
        dsn="DSN" in offers,
        starttls="STARTTLS" in offers,
        requiretls="REQUIRETLS" in offers,
        auth=tuple(offers.get("AUTH", "").upper().split()),
        limits=_limits_in(offers.get("LIMITS", "")),
    )


def _limits_in(text: str) -> Limits:
    told: dict[str, int] = {}
    for word in text.upper().split():
        found = _LIMIT.fullmatch(word)
        if found:
            told[found[1]] = int(found[2])
    if not told:
        return NO_LIMITS
    return Limits(told.get("MAILMAX"), told.get("RCPTMAX"), told.get("RCPTDOMAINMAX"))

"""
Options of the Sender Rewriting Scheme.

Owns: the table [srs].
Never: rewrites a sender (`mta/policy/srs.py`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from mta.config.fields import OptionalHostName
from mta.config.option import Table, option

# RFC 2104 3: less weakens the hash; 20 octets are its own length. Operators type words, and 16 of them are a bound.
_SHORTEST = 16


def _secret(text: str) -> str:
    if len(text) < _SHORTEST:
        raise ValueError(f"must have {_SHORTEST} characters at least; `openssl rand -base64 24` prints one")
    return text


class Srs(Table):
    """
    The Sender Rewriting Scheme: mail that an alias or a moved user sends on to another host leaves with a sender of
    ours, which passes SPF there, and whose bounces find the way back.
    """

    secrets: tuple[Annotated[str, AfterValidator(_secret)], ...] = option(
        (),
        "The first secret signs, what the others have signed is still good: put a new one in front, and take an old one"
        " away after three weeks. Empty means that no sender is rewritten.",
        unit="list of texts",
        source="PostSRSd; off until named",
    )
    domain: OptionalHostName = option(
        "",
        "The domain of rewritten senders, whose mail must come here; empty means hostname.",
        unit="domain",
        source="PostSRSd srs-domain",
    )

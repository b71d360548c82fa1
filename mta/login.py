"""
Who we are at a next hop that wants to know.

Owns: the pair of user and password, and the ways (mechanisms of SASL) in which it may be told.
Never: shows the password: not in a text of itself, not in a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SCRAM_PLUS, SCRAM, PLAIN, LOGIN = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"
# The strongest first: with the first two the password is never told, and the first two prove who the server is.
MECHANISMS = (SCRAM_PLUS, SCRAM, PLAIN, LOGIN)


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for one next hop; the first of `mechanisms` that the server offers too is taken."""

    user: str
    password: str = field(repr=False)
    mechanisms: tuple[str, ...] = MECHANISMS

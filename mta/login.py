"""
Who we are at a next hop that wants to know.

Owns: the user with the password, or with the token that stands for it, and the ways (mechanisms of SASL) in which it
may be told.
Never: shows the password: not in a text of itself, not in a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SCRAM_PLUS, SCRAM, PLAIN, LOGIN = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"
OAUTHBEARER, XOAUTH2 = "OAUTHBEARER", "XOAUTH2"
# The strongest first: with the first two the password is never told, and the server proves that it knows it.
BY_PASSWORD = (SCRAM_PLUS, SCRAM, PLAIN, LOGIN)
BY_TOKEN = (OAUTHBEARER, XOAUTH2)
MECHANISMS = (SCRAM_PLUS, SCRAM, OAUTHBEARER, XOAUTH2, PLAIN, LOGIN)


@dataclass(frozen=True, slots=True)
class Login:
    """
    Credentials for one next hop; the first of `mechanisms` that the server offers too is taken.

    `token` names what fetches access tokens (OAuth 2.0), "" for a login with a password. Where there is one, `password`
    is the access token of today, and "" before that is known.
    """

    user: str
    password: str = field(repr=False)
    mechanisms: tuple[str, ...] = MECHANISMS
    token: str = ""

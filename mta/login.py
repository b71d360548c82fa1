"""
Who we are at a next hop that wants to know.

Owns: the pair of user and password.
Never: shows the password: not in a text of itself, not in a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for one next hop."""

    user: str
    password: str = field(repr=False)

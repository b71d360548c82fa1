"""
One run of a mechanism of SASL, as a client has it.

Owns: what mechanisms have in common.
Never: knows one of them.
"""

from __future__ import annotations

from typing import Protocol


class ExchangeError(Exception):
    """The server's part of an exchange is not what it has to be; its text is the end of a sentence."""


class Exchange(Protocol):
    """One run of a mechanism."""

    @property
    def mechanism(self) -> str:
        """Its name (RFC 4422)."""

    @property
    def is_complete(self) -> bool:
        """Whether the server may say yes by now."""

    @property
    def told(self) -> str:
        """What the server said is wrong, before it refused us; "" for nothing."""

    def initial(self) -> bytes | None:
        """What is said first, None where the server begins."""

    def respond(self, challenge: str) -> bytes:
        """The answer to a challenge, which comes as it stood in its reply. Raises `ExchangeError`."""

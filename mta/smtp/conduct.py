"""
How a client behaves: its errors, and its commands that lead to no mail.

Owns: the two counts of a session and what follows from them, as Postfix has it.
Never: closes anything, delays anything.
"""

from __future__ import annotations

from mta.smtp.terms import Terms


class Conduct:
    """The record of one session since its last message; `slow` says that the error counted last calls for a delay."""

    __slots__ = ("_errors", "_junk", "_terms", "slow")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._errors = self._junk = 0
        self.slow = False

    @property
    def is_hopeless(self) -> bool:
        """Whether the session has made as many errors as it may."""
        return self._errors >= self._terms.errors_hard

    def error(self) -> None:
        self._errors += 1
        self.slow = self._errors > self._terms.errors_soft

    def junk(self) -> None:
        """Commands that lead to no mail are free up to a number, then each is an error."""
        self._junk += 1
        if self._junk > self._terms.junk_commands:
            self.error()

    def forgive(self) -> None:
        """A message was delivered: the limits are for clients that never deliver anything."""
        self._errors = self._junk = 0

"""
Tables that are at hand: those of the configuration itself, and the fake of the tests.

Owns: nothing but the entries it is given.
"""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import implementer

from mta.interfaces import ITable
from mta.table import Value


@implementer(ITable)
class InlineTable:
    """The entries of a mapping, whose keys are as policy compares them."""

    def __init__(self, entries: Mapping[str, Value]) -> None:
        self._entries = dict(entries)

    def lookup(self, key: str) -> Value | None:
        return self._entries.get(key)

    def close(self) -> None:
        """There is nothing to give back."""

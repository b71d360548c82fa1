"""
Names and passwords as they are compared (SASLprep, RFC 4013).

Owns: that preparation.
Fails: ValueError for a text that it has no room for.
"""

from __future__ import annotations

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepared(text: str) -> str:
    """The text as SASLprep makes it (RFC 4013 2). Raises ValueError where that has no room for it."""
    if not text.isascii():
        kept = [" " if stringprep.in_table_c12(each) else each for each in text if not stringprep.in_table_b1(each)]
        text = unicodedata.normalize("NFKC", "".join(kept))
    if any(prohibited(each) for each in text for prohibited in _PROHIBITED):
        raise ValueError("it has characters that SASLprep prohibits")
    right_to_left = [stringprep.in_table_d1(each) for each in text]
    # RFC 3454 6
    one_way = bool(text) and right_to_left[0] and right_to_left[-1] and not any(map(stringprep.in_table_d2, text))
    if any(right_to_left) and not one_way:
        raise ValueError("it mixes directions of writing")
    return text

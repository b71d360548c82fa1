"""
Write one part of a multipart.

Owns: its fields, and the encoding that says how many bits it has.
Never: knows what is in it.
Fails: never.
"""

from __future__ import annotations

from mta.message.folding import Fields, header_fields


def encoding_of(data: bytes) -> str:
    """The Content-Transfer-Encoding of data as it is, in lines (RFC 2045 6.2)."""
    return "7bit" if data.isascii() else "8bit"


def part(content_type: str, encoding: str, body: bytes, more: Fields = ()) -> bytes:
    """A part without its delimiter; `body` is encoded already."""
    described = [("Content-Type", content_type), ("Content-Transfer-Encoding", encoding), *more]
    return header_fields(described) + b"\r\n" + body

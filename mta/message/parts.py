"""
Take a message apart for programs that would rather not.

Owns: the form of its JSON: header fields, text, attachments.
Never: raises for a message, whatever it is made of: what can't be taken apart is given whole.
"""

from __future__ import annotations

import base64
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from typing import Any

# Of these the decoded text stands by itself.
_NAMED = ("Subject", "From", "To", "Cc", "Reply-To", "Date", "Message-ID")


def parts_of(content: bytes) -> dict[str, Any]:
    """
    ``headers`` (name and value of each field, as it stands), the fields of `_NAMED` decoded (``subject``, ``from``,
    ``message_id``...), ``text`` and ``html`` (the first of each that is no attachment, else None), ``attachments``.

    Of what can't be read, ``raw`` is all there is: the message in base64.
    """
    try:
        message = message_from_bytes(content)
        found: dict[str, Any] = {
            "headers": [[name, _plain(value)] for name, value in message.raw_items()],
            **{name.lower().replace("-", "_"): _decoded(message, name) for name in _NAMED},
            "text": None,
            "html": None,
            "attachments": [],
        }
        for part in message.walk():
            if not part.is_multipart():
                _place(part, found)
    except Exception:  # of the parser, for what its authors did not think of
        return {"raw": base64.b64encode(content).decode("ascii")}
    return found


def _place(part: Message, found: dict[str, Any]) -> None:
    kind = part.get_content_type()
    name = {"text/plain": "text", "text/html": "html"}.get(kind)
    data = part.get_payload(decode=True)
    octets = data if isinstance(data, bytes) else b""
    if name and found[name] is None and part.get_content_disposition() != "attachment":
        found[name] = _text(octets, part.get_content_charset("utf-8"))
        return
    found["attachments"].append(
        {
            "filename": _plain(part.get_filename("")) or None,
            "content_type": kind,
            "content_id": _plain(part.get("Content-ID", "")) or None,
            "size": len(octets),
            "content": base64.b64encode(octets).decode("ascii"),
        }
    )


def _text(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset, "replace").replace("\r\n", "\n")
    except (LookupError, ValueError):  # no such charset, or a name with a NUL
        return octets.decode("utf-8", "replace").replace("\r\n", "\n")


def _plain(value: Any) -> str:
    """Text without surrogates, which stand for octets beyond ASCII: they are mostly UTF-8 (RFC 6532)."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _decoded(message: Message, name: str) -> str | None:
    """The first such field, with its encoded words (RFC 2047) read, on one line."""
    value = next((value for key, value in message.raw_items() if key.lower() == name.lower()), None)
    if value is None:
        return None
    plain = " ".join(_plain(value).split())
    try:
        return str(make_header(decode_header(plain)))
    except Exception:  # a charset that nobody knows, base64 that is none
        return plain

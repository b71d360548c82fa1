"""
One reply of the server's catalog.

Owns: its shape, its text with fields filled in, and how a catalog looks as a page.
Never: is one; they stand in `mta/smtp/replies.py` and `mta/smtp/message_replies.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mta.reply import Reply


@dataclass(frozen=True, slots=True)
class ServerReply:
    """
    One entry of the catalog.

    `text` may hold ``{fields}``: then `fill` makes the reply. Where it holds none, `reply` and `wire` are ready made;
    of an entry with fields they show the names of the fields.
    """

    code: int
    enhanced: str | None
    text: str
    meaning: str
    source: str
    reply: Reply = field(init=False)
    wire: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reply", Reply(self.code, (self.text,), self.enhanced))
        object.__setattr__(self, "wire", self.reply.encode())

    def fill(self, **fields: str) -> Reply:
        """The reply with `fields` in its text; `Reply.encode` makes them harmless."""
        return Reply(self.code, (self.text.format(**fields),), self.enhanced)


def page(catalog: Iterable[ServerReply]) -> str:
    """The page of a catalog: one row for each reply, by code."""
    rows = [
        f"| {entry.code} | {entry.enhanced or ''} | {_cell(entry.text)} | {_cell(entry.meaning)} | {entry.source} |\n"
        for entry in sorted(catalog, key=lambda entry: (entry.code, entry.enhanced or ""))
    ]
    return (
        "# Replies\n\n"
        "Every reply of the SMTP server, rendered from `mta/smtp/replies.py`, `message_replies.py` and"
        " `auth_replies.py`. Words in braces"
        " are filled in.\n\n"
        "| Code | Enhanced | Text | Meaning | Source |\n|---|---|---|---|---|\n" + "".join(rows)
    )


def _cell(text: str) -> str:
    """`text` for a cell of a table: what looks like HTML would vanish from the page."""
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")

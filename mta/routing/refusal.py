"""
Read what ``error:`` says: a reply in the operator's words.

Owns: the grammar of the text behind ``error:``, and the reply that it stands for.
Never: decides whom it is for.
Fails: ValueError, whose text says what is wrong and how to write it.
"""

from __future__ import annotations

import re

from mta.reply import Reply

# RFC 5321 4.2: textstring is printable ASCII. 45x and 55x speak of a mailbox or a message; the others speak of the
# session or of a command, and a client would draw wrong conclusions from them.
_TEXT = re.compile(
    r"(?P<code>[45]5\d) (?:(?P<enhanced>[245]\.\d{1,3}\.\d{1,3}) )?(?P<text>(?![245]\.\d+\.\d+$)[!-~][ -~]*)"
)
# RFC 5321 4.5.3.1.5: 512 octets, with the code, the enhanced code and the line end.
MAX_TEXT = 480


def parse_refusal(text: str) -> Reply:
    """The reply that `text` writes: "550 5.1.1 No such user", "450 Back on Monday". Raises ValueError."""
    found = _TEXT.fullmatch(text.strip(" "))
    if not found or len(text) > MAX_TEXT:
        raise ValueError(
            f'"error:{text}" must have a code (45x or 55x) and a text of printable ASCII, such as'
            " error:550 5.1.1 This mailbox is closed, or error:450 4.2.1 Back on Monday"
        )
    # RFC 3463 3.8: "delivery not authorized, message refused" says what an operator's word amounts to.
    enhanced = found["enhanced"] or f"{found['code'][0]}.7.1"
    if enhanced[0] != found["code"][0]:
        raise ValueError(f'"error:{text}": {enhanced} contradicts {found["code"]}; both begin with the same digit')
    return Reply(int(found["code"]), (found["text"],), enhanced)

"""
The extensions that EHLO offers, and the parameters that MAIL may carry for them.

Owns: the keywords of the EHLO reply, the grammar of esmtp-params, SIZE and BODY.
Never: knows the session's state.
Fails: never; what is wrong with parameters is a reply.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mta.envelope import Body
from mta.reply import Reply
from mta.smtp import replies

# RFC 5321 4.1.2 esmtp-param. The keyword comes back in our reply, which has room for 512 octets (4.5.3.1.5).
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,63})(?:=([!-<>-~]+))?")
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 3
_BODIES = {body.value: body for body in Body}


def keywords(message_size: int) -> tuple[str, ...]:
    """The lines of the EHLO reply behind the host name; `message_size` in octets."""
    return (
        "PIPELINING",  # RFC 2920
        f"SIZE {message_size}",  # RFC 1870
        "8BITMIME",  # RFC 6152
        "ENHANCEDSTATUSCODES",  # RFC 2034
        "HELP",  # RFC 5321 4.1.1.1
    )


@dataclass(frozen=True, slots=True)
class MailParameters:
    """What the parameters of MAIL say: `size` in octets as declared, None where it was not."""

    size: int | None = None
    body: Body = Body.SEVEN_BIT


NO_PARAMETERS = MailParameters()


def mail_parameters(text: str) -> MailParameters | Reply:
    """The parameters of MAIL, `text` being what follows the path, or the reply that refuses them."""
    seen = _split(text)
    if isinstance(seen, Reply):
        return seen
    size, body = None, Body.SEVEN_BIT
    for keyword, value in seen.items():
        if keyword == "SIZE":
            if not _SIZE.fullmatch(value):
                return replies.BAD_PARAMETER.fill(parameter="SIZE")
            size = int(value)
        elif keyword == "BODY":
            if value.upper() not in _BODIES:
                return replies.BAD_PARAMETER.fill(parameter="BODY")
            body = _BODIES[value.upper()]
        else:
            return replies.UNKNOWN_PARAMETER.fill(parameter=keyword)
    return MailParameters(size, body)


def refused_parameters(text: str) -> Reply:
    """The refusal of parameters where none are known: behind RCPT, and behind MAIL after HELO."""
    seen = _split(text)
    if isinstance(seen, Reply):
        return seen
    return replies.UNKNOWN_PARAMETER.fill(parameter=next(iter(seen)))


def _split(text: str) -> dict[str, str] | Reply:
    """Values by upper-case keyword, "" where there is none. The text is ASCII and not blank."""
    if not text.startswith(" "):
        return replies.BAD_PARAMETER.fill(parameter="a space must follow the path")
    seen: dict[str, str] = {}
    for word in text.split():
        found = _PARAMETER.fullmatch(word)
        if not found:
            return replies.BAD_PARAMETER.fill(parameter="not KEYWORD=VALUE")
        keyword = found[1].upper()
        if keyword in seen:
            return replies.BAD_PARAMETER.fill(parameter=keyword)
        seen[keyword] = found[2] or ""
    return seen

"""
The text of HELP.

Owns: the syntax of each command and the clause that defines it.
Never: knows the session's state.
"""

from __future__ import annotations

from mta.reply import Reply
from mta.smtp import replies

_COMMON: dict[str, tuple[str, str]] = {
    "MAIL": ("MAIL FROM:<address> [SIZE= BODY= SMTPUTF8 RET= ENVID=]", "RFC 5321 4.1.1.2, 1870, 6152, 6531, 3461"),
    "RCPT": ("RCPT TO:<address> [NOTIFY= ORCPT=]", "RFC 5321 4.1.1.3, 3461"),
    "DATA": ("DATA", "RFC 5321 4.1.1.4"),
    "BDAT": ("BDAT size [LAST]", "RFC 3030 2"),
    "RSET": ("RSET", "RFC 5321 4.1.1.5"),
    "VRFY": ("VRFY address [SMTPUTF8]", "RFC 5321 4.1.1.6"),
    "EXPN": ("EXPN list [SMTPUTF8]", "RFC 5321 4.1.1.7"),
    "HELP": ("HELP [command]", "RFC 5321 4.1.1.8"),
    "NOOP": ("NOOP [anything]", "RFC 5321 4.1.1.9"),
    "QUIT": ("QUIT", "RFC 5321 4.1.1.10"),
}
_SMTP: dict[str, tuple[str, str]] = {
    "EHLO": ("EHLO hostname", "RFC 5321 4.1.1.1"),
    "HELO": ("HELO hostname", "RFC 5321 4.1.1.1"),
    **_COMMON,
    "ETRN": ("ETRN domain", "RFC 1985"),
}
_LMTP: dict[str, tuple[str, str]] = {"LHLO": ("LHLO hostname", "RFC 2033 4.1"), **_COMMON}


def help_on(topic: str, lmtp: bool) -> Reply:
    """The answer to HELP: all commands, or with a `topic`, that one."""
    topics = _LMTP if lmtp else _SMTP
    if not topic:
        lines: tuple[str, ...] = ("Commands:", " ".join(topics), "HELP and one of them tells more")
    elif topic.upper() in topics:
        syntax, source = topics[topic.upper()]
        lines = (f"Syntax: {syntax}", f"See {source}")
    else:
        return replies.UNKNOWN_TOPIC.reply
    return Reply(replies.HELP.code, lines, replies.HELP.enhanced)

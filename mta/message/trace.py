"""
Write the trace fields: Received when a message arrives, Return-Path at final delivery.

Owns: their grammar (RFC 5321 4.4) and the date-time of RFC 5322 3.3.
Never: reads a clock, or trusts a peer's words: what does not belong into a field is replaced by "?".
Fails: never.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from mta.address import MAX_DOMAIN, Address

# RFC 5322 2.1.1: lines SHOULD have no more than 78 characters, and MUST have no more than 998.
WIDTH = 78
# What is put around the words of `_origin`: a tab before them, or a queue id (13 characters and a space) behind.
_MARGIN = 15

# strftime speaks the language of the locale; RFC 5322 3.3 speaks English.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LAST_SECOND = 253_402_300_799  # 9999-12-31, the last day with a year of four digits

# The characters of domains, address literals and user names. A comment could be closed by ")" and a field by CR LF.
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._:@\[\]-]")
# RFC 6531 3.7.3, 4.3: beyond ASCII as it is, for only SMTPUTF8 mail has such addresses; never what could end a line.
_NOT_IN_PATH = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def received(
    *,
    helo: str,
    client_ip: str,
    client_name: str | None,
    by: str,
    protocol: str,
    queue_id: str,
    recipient: Address | None,
    at: float,
    tls: str = "",
) -> bytes:
    """
    A complete Received field, folded, with CRLF at its end.

    `client_name` is the verified name of the client or None; `client_ip` its address, or "" for a local user, whose
    name is `helo` then, "" for one who is not to be told. `recipient` only where there is one: RFC 5321 7.2 warns of
    revealing the others. `at` in seconds since 1970. `tls` is the version and the cipher of the TLS that it came
    through, "" for none. Hostile text can neither add a line nor close a comment.
    """
    origin = _origin(helo, client_ip, client_name, by, protocol, tls)
    path = "" if recipient is None else f"\r\n\tfor <{_path(recipient)}>"
    return f"{origin} {queue_id}{path};\r\n\t{date(at)}\r\n".encode("ascii", "replace")


@lru_cache(maxsize=1024)
def _origin(helo: str, client_ip: str, client_name: str | None, by: str, protocol: str, tls: str) -> str:
    """The field up to the protocol: the same for all messages of a session, and the costly part."""
    if not client_ip:
        who = [f"(from user {_name(helo)})"] if helo else []
        return _folded(["Received: by", _name(by), *who], [f"with {_name(protocol)} id"])
    # RFC 5321 4.4: Extended-Domain, with the TCP-info that we know ourselves in the parentheses.
    known = [f"({_name(client_name)}", f"{_literal(client_ip)})"] if client_name else [f"({_literal(client_ip)})"]
    if not tls:
        return _folded(["Received: from", _name(helo), *known], ["by", _name(by), f"with {_name(protocol)} id"])
    version, _, cipher = tls.partition(" ")
    encryption = [f"({_name(version)}", f"{_name(cipher)})"]
    return _folded(
        ["Received: from", _name(helo), *known], ["by", _name(by), f"with {_name(protocol)}", *encryption, "id"]
    )


def _folded(*groups: list[str]) -> str:
    """The words of each group on a line of their own, and on more where they do not fit."""
    lines = []
    for group in groups:
        line, *words = group
        for word in words:
            if len(line) + len(word) + _MARGIN > WIDTH:
                lines.append(line)
                line = word
            else:
                line += f" {word}"
        lines.append(line)
    return "\r\n\t".join(lines)


def _name(text: str) -> str:
    """A name fit for the field: nothing but the characters of names, and never longer than a domain may be."""
    return _NOT_IN_NAME.sub("?", text[:MAX_DOMAIN]) or "unknown"


def _literal(ip: str) -> str:
    """The address literal of an IP address (RFC 5321 4.1.3); the zone of a link-local address has no place in it."""
    ip = _name(ip.partition("%")[0])
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"


def _path(address: Address) -> str:
    """The wire form of an address. A parsed one is printable already; one from elsewhere is made so."""
    return _NOT_IN_PATH.sub("?", str(address))


def return_path(sender: Address | None) -> bytes:
    """The Return-Path field with its CRLF (RFC 5321 4.4); None is the null reverse-path."""
    return f"Return-Path: <{'' if sender is None else _path(sender)}>\r\n".encode()


def delivered_to(recipient: Address) -> bytes:
    """The Delivered-To field (RFC 9228) of a final delivery."""
    return f"Delivered-To: {_path(recipient)}\r\n".encode()


def original_to(named: str) -> bytes:
    """The X-Original-To field: whom RCPT named, where another stands in its place. Postfix and Dovecot know it."""
    return f"X-Original-To: {_NOT_IN_PATH.sub('?', named)}\r\n".encode()


def final_fields(sender: Address | None, recipient: Address, named: str) -> bytes:
    """Return-Path, X-Original-To where RCPT named another than `recipient`, Delivered-To: in front of a message."""
    original = original_to(named) if named and named != str(recipient) else b""
    return return_path(sender) + original + delivered_to(recipient)


def captured_for(recipient: Address, named: str) -> bytes:
    """X-Original-To, whom RCPT named, and X-Captured-For, who would have had the message."""
    return original_to(named or str(recipient)) + f"X-Captured-For: {_path(recipient)}\r\n".encode()


def date(at: float) -> str:
    """The date-time of `at` (seconds since 1970) in UTC: ``Mon, 06 Sep 2021 13:46:40 +0000`` (RFC 5322 3.3)."""
    return _date(int(at))


@lru_cache(maxsize=16)
def _date(second: int) -> str:
    """The text of one second: at a thousand messages a second it is made once."""
    moment = datetime.fromtimestamp(min(max(second, 0), _LAST_SECOND), UTC)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment.year} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} +0000"
    )

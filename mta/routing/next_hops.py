"""
Read a next hop from its text in the configuration.

Owns: the grammar of ``smtp://``, ``smtps://``, ``lmtp://``, ``lmtp+unix:``, ``mx:``, ``maildir:`` and ``discard:``, and
of Maildir templates; ``mbox:``, ``pipe:``. ``error:`` is read by `refusal.py`, ``https:`` by `web_address.py`.
Never: checks that a next hop can be reached.
Fails: ValueError, whose text says what is wrong and how to write it.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from pathlib import PurePosixPath

from mta.address import AddressError, parse_domain
from mta.destination import NextHop, Transport
from mta.routing.refusal import parse_refusal
from mta.routing.web_address import parse_url

# "capture:" is for [delivery.capture] alone.
_KNOWN = frozenset(item.value for item in Transport) - {Transport.CAPTURE.value}
_PLACEHOLDERS = ("{user}", "{domain}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# RFC 5321 4.5.4.2, RFC 8314 7.3; LMTP has none of its own (RFC 2033 5 only forbids 25), and 24, "any private mail
# system", is the custom (Postfix, Dovecot).
_PORTS = {Transport.SMTP: 25, Transport.SMTPS: 465, Transport.LMTP: 24}


def parse_next_hop(text: str) -> NextHop:
    """
    The next hop that `text` writes; `str()` of the answer is its canonical spelling.

    ``smtp://host``, ``smtp://host:port``, ``smtp://[v6]:port``: that host, without an MX lookup; ``smtps://`` and
    ``lmtp://`` likewise. ``lmtp+unix:path``: a UNIX socket, below the state directory where the path is relative.
    ``mx:`` and ``mx:domain``: the MX hosts of the recipient's or of the named domain. ``maildir:path``, ``discard:``,
    ``error:550 5.1.1 text``, ``pipe:name``, ``https://host/path``; ``mbox:path``, which may be absolute.
    """
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in _KNOWN:
        raise ValueError(_unknown(text, scheme if colon else ""))
    transport = Transport(scheme)
    if transport in _PORTS:
        return _parse_host(transport, text, rest)
    if transport is Transport.LMTP_UNIX:
        return NextHop(transport, _socket(text, rest))
    if transport is Transport.MAILDIR:
        return NextHop(transport, check_template(rest))
    if transport is Transport.ERROR:
        return NextHop(transport, str(parse_refusal(rest)))
    if transport is Transport.MBOX:
        check_template(rest.removeprefix("/"), "an mbox")
        return NextHop(transport, rest)
    if transport in (Transport.HTTPS, Transport.HTTP):
        return NextHop(transport, parse_url(text))
    if transport is Transport.PIPE:
        return NextHop(transport, _pipe_name(text, rest))
    if transport is Transport.MX:
        return NextHop(transport, _domain(text, rest) if rest else "")
    if rest:
        raise ValueError(f'"{text}" has something behind "{scheme}:"')
    return NextHop(transport)


def check_template(path: str, what: str = "a Maildir") -> str:
    """
    The path of a mailbox (`what`), below the state directory, in which ``{user}`` and ``{domain}`` stand for the
    recipient's parts.

    Returns it; raises ValueError where it is absolute, climbs with ``..`` or has another placeholder.
    """
    bare = path
    for placeholder in _PLACEHOLDERS:
        bare = bare.replace(placeholder, "x")
    if not bare or "\0" in bare:
        raise ValueError(f"{what} needs a path, such as mail/{{user}}/Maildir")
    if "{" in bare or "}" in bare:
        raise ValueError(f'"{path}" has a placeholder other than {{user}} and {{domain}}')
    if PurePosixPath(bare).is_absolute() or ".." in PurePosixPath(bare).parts:
        raise ValueError(f'"{path}" must be a path below state_dir, without a leading "/" and without ".."')
    return path


def _unknown(text: str, scheme: str) -> str:
    known = sorted(_KNOWN)
    near = difflib.get_close_matches(scheme, known, 1)
    hint = f'; did you mean "{near[0]}:"?' if near else ""
    return (
        f'"{text}" is not a next hop; write smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT, lmtp+unix:PATH,'
        f" mx:, mx:DOMAIN, maildir:PATH, discard:, mbox:PATH, pipe:NAME, https://URL or error:CODE TEXT{hint}"
    )


def _pipe_name(text: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f'"{text}" must be pipe:NAME, with the name of a [[delivery.pipe]]')
    return name


def _socket(text: str, path: str) -> str:
    """The path of a UNIX socket: absolute, or below the state directory."""
    if not path or "\0" in path or path.endswith("/"):
        raise ValueError(f'"{text}" must have the path of a UNIX socket, such as lmtp+unix:/run/dovecot/lmtp')
    if path.startswith("//"):
        raise ValueError(f'"{text}" must be lmtp+unix:PATH, without the slashes of a host')
    if ".." in PurePosixPath(path).parts:
        raise ValueError(f'"{text}" must be an absolute path, or one below state_dir, without ".."')
    return path


def _parse_host(transport: Transport, text: str, rest: str) -> NextHop:
    scheme = transport.value
    if not rest.startswith("//"):
        raise ValueError(f'"{text}" lacks the slashes of {scheme}://HOST:PORT')
    place = rest[2:]
    if any(character in place for character in "/@?#"):
        raise ValueError(f'"{text}" must be {scheme}://HOST:PORT and nothing else')
    host, port = _split_port(text, place)
    if port is None:
        port = _PORTS[transport]
    elif transport is Transport.LMTP and port == 25:
        raise ValueError(f'"{text}": port 25 is for SMTP, LMTP must not use it (RFC 2033 5)')
    return NextHop(transport, host, port)


def _split_port(text: str, place: str) -> tuple[str, int | None]:
    """Host and port, None where none is given."""
    if place.startswith("["):
        inside, bracket, tail = place[1:].partition("]")
        try:
            host = str(ipaddress.IPv6Address(inside))
        except ValueError:
            bracket = ""
        if not bracket or tail[:1] not in ("", ":"):
            # Postfix writes [host] to skip the MX lookup; here a host never has one.
            raise ValueError(f'"{text}" must have an IPv6 address in its brackets, and only that')
        return host, _port(text, tail)
    if place.count(":") > 1:
        raise ValueError(f'"{text}" must have its IPv6 address in brackets, as in [2001:db8::1]:25')
    host, colon, tail = place.partition(":")
    host = _domain(text, host)
    if host.rpartition(".")[2].isdigit():  # RFC 1123 2.1: a name never ends in digits alone, so this is an address
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError(f'"{text}" has neither a host name nor an IPv4 address') from None
    return host, _port(text, colon + tail)


def _port(text: str, tail: str) -> int | None:
    if not tail:
        return None
    digits = tail[1:]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 1 <= int(digits) <= 65535):
        raise ValueError(f'"{text}" must have a port from 1 to 65535')
    return int(digits)


def _domain(text: str, domain: str) -> str:
    try:
        return parse_domain(domain, utf8=True)
    except AddressError as error:
        raise ValueError(f'"{text}": {error}') from None

"""
Read the URL of a web server that takes mail.

Owns: the form of ``https:`` and ``http:`` next hops.
Never: asks the server.
Fails: ValueError, whose text says what is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_PRINTABLE = re.compile(r"[!-~]+")


def parse_url(text: str) -> str:
    """What stands behind the scheme of a URL, with its host in lower case: "//host:port/path?query"."""
    if not _PRINTABLE.fullmatch(text):
        raise ValueError(f'"{text}" must be a URL of printable ASCII, without spaces')
    try:
        url = urlsplit(text)
        host, _port = url.hostname, url.port
    except ValueError:
        host = None
        url = urlsplit("")
    if not host or not text.partition(":")[2].startswith("//"):
        raise ValueError(f'"{text}" must be a URL with a host, such as https://hooks.example.org/mail')
    if "@" in url.netloc:
        raise ValueError(f'"{text}" has a user in it; a request is signed instead: [[delivery.http]] secrets')
    if url.fragment or text.endswith("#"):
        raise ValueError(f'"{text}" has a fragment ("#"), which no server gets to see')
    query = f"?{url.query}" if url.query else ""
    return f"//{url.netloc.lower()}{url.path or '/'}{query}"


def server_of(target: str) -> str:
    """Of what `parse_url` gives the host and the port: the rest may be a secret."""
    return target[2:].partition("/")[0]


def is_loopback(target: str) -> bool:
    """Whether what `parse_url` gives is on this machine. A name is not: where it leads is for the DNS to say."""
    try:
        return ipaddress.ip_address(urlsplit(target).hostname or "").is_loopback
    except ValueError:
        return False

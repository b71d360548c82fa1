"""
AUTH as a client: which mechanism, and what is said in it.

Owns: PLAIN (RFC 4616) and LOGIN (an old habit of servers), their lines and their order.
Never: decides whether the connection is safe enough for a password (`mta/routing/tls_policies.py`).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection

from mta.login import Login

# RFC 4954 4: an initial response goes with the command where the line has room for it (RFC 5321 4.5.3.1.4).
_MAX_COMMAND = 512


def auth_lines(login: Login, mechanisms: Collection[str]) -> list[bytes] | None:
    """The lines of the dialogue, each but the first for a 334; None where we know no mechanism that is offered."""
    user, password = login.user.encode(), login.password.encode()
    if "PLAIN" in mechanisms:
        response = b64encode(b"\0" + user + b"\0" + password)
        command = b"AUTH PLAIN " + response + b"\r\n"
        return [command] if len(command) <= _MAX_COMMAND else [b"AUTH PLAIN\r\n", response + b"\r\n"]
    if "LOGIN" in mechanisms:
        return [b"AUTH LOGIN\r\n", b64encode(user) + b"\r\n", b64encode(password) + b"\r\n"]
    return None

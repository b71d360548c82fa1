"""
Who is at the other end of a UNIX socket.

Owns: the question to the kernel.
Never: decides what that user may do.
"""

from __future__ import annotations

import socket
import struct

_UCRED = struct.Struct("3i")  # pid, uid, gid; unix(7)


def uid_of(transport: object) -> int | None:
    """The user id of the peer where the kernel tells it (SO_PEERCRED, Linux), else None."""
    handle = getattr(transport, "getHandle", lambda: None)()
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or not isinstance(handle, socket.socket) or handle.family != socket.AF_UNIX:
        return None
    try:
        _, uid, _ = _UCRED.unpack(handle.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))
    except OSError:
        return None
    return int(uid)

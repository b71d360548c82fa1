"""
Bind the control socket.

Owns: its path, its mode, and the rule that a socket somebody listens on is never taken away.
Never: knows what is spoken on it.
Fails: `ControlSocketError`, one line that names the path.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.internet.protocol import Factory

from mta.config.checking import MAX_SOCKET_PATH


class ControlSocketError(Exception):
    """The control socket can't be opened; the text says why."""


def listen(reactor: IReactorUNIX, path: Path, mode: int, factory: Factory) -> IListeningPort:
    """
    Listen at `path` with file mode `mode`; a socket left behind by a daemon that died is replaced.

    Raises `ControlSocketError`.
    """
    address = os.fspath(path)
    if len(os.fsencode(address)) > MAX_SOCKET_PATH:
        raise ControlSocketError(f"{path}: the path of the control socket is longer than {MAX_SOCKET_PATH} octets")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ControlSocketError(f"{path}: cannot open the control socket: {error}") from error
    _remove_stale(path)
    # The mode holds from the first moment: a chmod after the bind leaves a gap in which a stranger connects.
    before = os.umask(0o777 & ~mode)
    try:
        return reactor.listenUNIX(address, factory, mode=mode)
    except (CannotListenError, OSError) as error:
        reason = error.socketError if isinstance(error, CannotListenError) else error
        raise ControlSocketError(f"{path}: cannot open the control socket: {reason}") from error
    finally:
        os.umask(before)


def _remove_stale(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ControlSocketError(f"{path}: cannot open the control socket: {error}") from error
    if not stat.S_ISSOCK(kind):
        raise ControlSocketError(f"{path}: this is no socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(os.fspath(path))
    # Only a refusal says that nobody listens: a full backlog (EAGAIN) is a busy daemon.
    if code != errno.ECONNREFUSED:
        raise ControlSocketError(f"{path}: another daemon listens there")
    path.unlink(missing_ok=True)

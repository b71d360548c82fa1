"""
What the supervisor and a worker say to each other: a JSON object a line, over a pair of sockets.

Owns: the wire format.
Never: knows what a word means (`mta/daemon/worker.py`, `mta/daemon/supervisor.py`), or checks it: both ends are ours.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

Words = dict[str, Any]


class Channel(LineReceiver):
    """One end. `heard` gets each word with what belongs to it, `lost` is called when the other end is gone."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 30  # a configuration may have any number of aliases

    def __init__(self, heard: Callable[[str, Words], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost

    def tell(self, word: str, **more: object) -> None:
        """Say something; nobody knows whether it is heard where the other end is gone."""
        if self.connected:
            self.sendLine(json.dumps({"word": word, **more}).encode("ascii"))  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        more = json.loads(line)
        self._heard(more.pop("word"), more)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._lost()


class _One(Factory):
    noisy = False

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: IAddress | None) -> Channel:  # noqa: ARG002
        return self._channel


def adopt(reactor: Any, end: socket.socket, channel: Channel) -> None:
    """Speak over an end of a pair of sockets, which is the reactor's from then on."""
    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, _One(channel))
    end.close()

"""
An SMTP server that plays a script: it refuses, stalls, closes or talks nonsense where it is told to.

It knows no rules of its own, so it can break any. Over real sockets it listens by `ScriptedServer`, as any factory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.interfaces import IAddress, ITransport
from twisted.internet.protocol import ServerFactory
from twisted.protocols.basic import LineReceiver

OK = b"250 2.0.0 Ok\r\n"
PIPELINING = b"250-scripted.test\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
CHUNKING = PIPELINING.replace(b"250 E", b"250-CHUNKING\r\n250-BINARYMIME\r\n250 E")
ONE_AT_A_TIME = b"250 scripted.test\r\n"


@dataclass(frozen=True)
class Close:
    """Say this, then close the connection."""

    words: bytes = b""


SILENCE = b""  # say nothing, to this and to all that follows

Step = bytes | Close
# A stage has one step for all times, or one for each time, of which the last repeats.
Script = Mapping[str, Step | Sequence[Step]]

# Stages are verbs, and: "greeting", "." for the end of the content (in LMTP once for each recipient that got a 250),
# "content" for its first line, "LAST" for the last chunk.
POLITE: Script = {
    "greeting": b"220 scripted.test ESMTP\r\n",
    "EHLO": PIPELINING,
    "LHLO": PIPELINING,
    "HELO": b"250 scripted.test\r\n",
    "MAIL": OK,
    "RCPT": OK,
    "DATA": b"354 go\r\n",
    ".": b"250 2.0.0 queued\r\n",
    "BDAT": OK,
    "LAST": b"250 2.0.0 queued\r\n",
    "RSET": OK,
    "QUIT": Close(b"221 2.0.0 bye\r\n"),
}


@dataclass
class Session:
    """What one client did: its commands, the messages whose final dot came, and whether it is gone."""

    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    gone: bool = False


class ScriptedConnection(LineReceiver):
    """One client's connection."""

    factory: Any  # the ScriptedServer
    transport: ITransport
    MAX_LENGTH = 1 << 20

    def connectionMade(self) -> None:
        self.session = Session()
        self.factory.sessions.append(self.session)
        self._content: list[bytes] | None = None
        self._silent = False
        self._is_lmtp = False
        self._accepted = 0
        self._chunk_left = 0
        self._is_last_chunk = False
        self._chunks: list[bytes] = []
        self._play("greeting")

    def lineReceived(self, line: bytes) -> None:
        if self._content is None:
            self.session.commands.append(line.decode(errors="backslashreplace"))
            verb = line[:4].decode("ascii", "backslashreplace").upper()
            self._is_lmtp = self._is_lmtp or verb == "LHLO"
            if verb == "MAIL":
                self._accepted = 0
                self._chunks.clear()
            if verb == "BDAT":
                self._is_last_chunk = line.upper().endswith(b" LAST")
                self._chunk_left = int(line.split()[1])
                self.setRawMode()
                if not self._chunk_left:
                    self.rawDataReceived(b"")
            else:
                self._play(verb)
        elif line == b".":
            self.session.messages.append(b"".join(self._content))
            self._content = None
            for _ in range(self._accepted if self._is_lmtp else 1):
                self._play(".")
        else:
            if not self._content and "content" in self.factory.script:
                self._play("content")
            self._content.append((line[1:] if line.startswith(b".") else line) + b"\r\n")

    def rawDataReceived(self, data: bytes) -> None:
        chunk, rest = data[: self._chunk_left], data[self._chunk_left :]
        self._chunks.append(chunk)
        self._chunk_left -= len(chunk)
        if self._chunk_left:
            return
        if self._is_last_chunk:
            self.session.messages.append(b"".join(self._chunks))
            for _ in range(self._accepted if self._is_lmtp else 1):
                self._play("LAST")
        else:
            self._play("BDAT")
        self.setLineMode(rest)

    def connectionLost(self, _reason: object = None) -> None:
        self.session.gone = True

    def _play(self, stage: str) -> None:
        if self._silent:
            return
        step = self.factory.next_step(stage)
        words = step.words if isinstance(step, Close) else step
        if stage == "DATA" and words.startswith(b"3"):
            self._content = []
        if stage == "RCPT" and words.startswith(b"2"):
            self._accepted += 1
        self.transport.write(words)
        self._silent = step == SILENCE
        if isinstance(step, Close):
            self.transport.loseConnection()


class ScriptedServer(ServerFactory):
    """Plays `POLITE`, changed by `script`. Times are counted over all connections."""

    noisy = False

    def __init__(self, script: Script | None = None) -> None:
        self.script: Script = {**POLITE, **(script or {})}
        self.sessions: list[Session] = []
        self._times: dict[str, int] = {}

    def buildProtocol(self, _addr: IAddress | None) -> Any:
        connection = ScriptedConnection()
        connection.factory = self
        return connection

    @property
    def messages(self) -> list[bytes]:
        """All messages of all clients."""
        return [message for session in self.sessions for message in session.messages]

    @property
    def commands(self) -> list[str]:
        """All commands of all clients."""
        return [command for session in self.sessions for command in session.commands]

    def next_step(self, stage: str) -> Step:
        steps = self.script.get(stage, b"500 5.5.1 what?\r\n")
        if isinstance(steps, (bytes, Close)):
            return steps
        time = self._times[stage] = self._times.get(stage, -1) + 1
        return steps[min(time, len(steps) - 1)]

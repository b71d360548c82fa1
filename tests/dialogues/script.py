"""
Dialogues that a person can read, and how they are played.

A file holds, one a line:

    # a comment
    @role lmtp            what the listener is; also @trusted, @refused, @limit NAME NUMBER (of `ServerLimits`),
                          @check_domains: null.test takes no mail, nowhere.test does not exist;
                          @no_reports: every sender has had all reports of this hour
    C: EHLO client.test   the client sends a line; lines without a reply between them go out together
    C> .\r\n              the client sends these octets, as a Python string would write them, and no line end
    @content 1000         the client sends so many octets of text in lines
    S: 250-...            the server's next line; "..." stands for any text, /.../ is a regular expression
    S*: 250               the server's next reply, of any number of lines, has this code
    @closed               the server closes the connection
    @stored 2             so many messages were stored by now
    @envelope WORDS       a word of the last one stored: sender, recipient, named, notify, orcpt, expanded, envid, ret,
                          body, protocol, content
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).parent
_LINE = (b"0123456789" * 7)[:62] + b"\r\n"


class Peer(Protocol):
    """Plays the client's part."""

    def send(self, data: bytes) -> None: ...

    def line(self) -> Awaitable[str | None]:
        """The server's next line without its CRLF; None when it has closed the connection."""
        ...

    def stored(self) -> list[str]:
        """Each message stored so far, in words."""
        ...


@dataclass
class Script:
    """One dialogue: what the listener is, and its steps as (number of the line, kind, rest)."""

    name: str
    role: str = "mx"
    trusted: bool = False
    refused: bool = False
    no_reports: bool = False
    check_domains: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    steps: list[tuple[int, str, str]] = field(default_factory=list)


def read(path: Path) -> Script:
    """The dialogue in a file. Raises ValueError with the line that is none."""
    script = Script(path.stem)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        kind, _, rest = line.partition(" ")
        match kind:
            case "" | "#":
                continue
            case "@role":
                script.role = rest
            case "@trusted":
                script.trusted = True
            case "@refused":
                script.refused = True
            case "@check_domains":
                script.check_domains = True
            case "@no_reports":
                script.no_reports = True
            case "@limit":
                name, value = rest.split()
                script.limits[name] = int(value)
            case "C:" | "C>" | "S:" | "S*:" | "@content" | "@closed" | "@stored" | "@envelope":
                script.steps.append((number, kind, rest))
            case _:
                raise ValueError(f"{path.name}:{number}: no step: {line}")
    return script


def scripts() -> list[Script]:
    """All dialogues."""
    return [read(path) for path in sorted(HERE.glob("*.txt"))]


def matches(pattern: str, line: str) -> bool:
    """Whether a line of the server is the one expected."""
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        return re.fullmatch(pattern[1:-1], line) is not None
    return re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), line) is not None


async def play(script: Script, peer: Peer) -> None:
    """Play a dialogue. Raises AssertionError with the line where it goes another way."""
    outgoing = b""
    for number, kind, rest in script.steps:
        where = f"{script.name}.txt:{number}: {kind} {rest}"
        if kind == "C:":
            outgoing += rest.encode() + b"\r\n"
        elif kind == "C>":
            outgoing += rest.encode().decode("unicode_escape").encode("latin-1")
        elif kind == "@content":
            size = int(rest)
            outgoing += (_LINE * (size // len(_LINE) + 1))[: size - 2] + b"\r\n"
        else:
            if outgoing:
                peer.send(outgoing)
                outgoing = b""
            if kind == "S:":
                line = await peer.line()
                assert matches(rest, line or "nothing"), f"{where}\nthe server said: {line}"
            elif kind == "S*:":
                line = await peer.line()
                while line is not None and line.startswith(f"{rest}-"):
                    line = await peer.line()
                assert (line or "nothing").startswith(f"{rest} "), f"{where}\nthe server said: {line}"
            elif kind == "@closed":
                line = await peer.line()
                assert line is None, f"{where}\nthe server said: {line}"
            elif kind == "@stored":
                assert len(peer.stored()) == int(rest), f"{where}\nstored: {peer.stored()}"
            elif kind == "@envelope":
                words = peer.stored()[-1].split("\n")
                assert rest in words, f"{where}\nstored: {words}"

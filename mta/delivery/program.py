"""
Run one program with a file as its standard input.

Owns: its process group, its time limit, what is kept of its output.
Never: a shell, an open descriptor of ours or our environment: it gets what it is given.
Fails: never; that a program can't be run is a status as well (127).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

# How long the output of a program that has ended is waited for: a child that it left behind may hold it open for ever.
LEFT_BEHIND = 2.0
_IN_GROUP = "import os,sys;os.setsid();os.execv(sys.argv[1],sys.argv[1:])"


def group_leader() -> list[str]:
    """The words in front of a command that make it the first of a process group of its own, which can be killed."""
    setsid = shutil.which("setsid", path="/usr/bin:/bin:/usr/local/bin")
    return [setsid] if setsid else [sys.executable, "-I", "-S", "-c", _IN_GROUP]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: by `status`, or by a `signal`, and why that was sent, where we did it."""

    status: int
    signal: int
    cause: str
    output: bytes


class Program(ProcessProtocol):
    """One run; `ended` fires with `Ended`, and to cancel it kills the group."""

    def __init__(self, clock: Any, time_limit: float, output_limit: int) -> None:
        self.ended: Deferred[Ended] = Deferred(lambda _: self._kill("cancelled"))
        self._clock = clock
        self._output_limit = output_limit
        self._output: list[bytes] = []
        self._room = output_limit
        self._cause = ""
        self._timer: IDelayedCall = clock.callLater(
            time_limit, lambda: self._kill(f"killed after the time limit of {time_limit:g} s")
        )

    def outReceived(self, data: bytes) -> None:
        # Read to its end whatever its size, or the program would wait for room.
        if self._room > 0:
            self._output.append(data[: self._room])
            self._room -= len(data)

    errReceived = outReceived

    def processExited(self, reason: Failure) -> None:
        self._stop_timer()
        self._reason = reason
        self._timer = self._clock.callLater(LEFT_BEHIND, self._finish)

    def processEnded(self, reason: Failure) -> None:
        self._reason = reason
        self._finish()

    def _kill(self, cause: str) -> None:
        self._cause = cause
        pid = getattr(self.transport, "pid", None)
        if pid is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not come so far as to have a group
                os.kill(pid, signal.SIGKILL)

    def _stop_timer(self) -> None:
        if self._timer.active():
            self._timer.cancel()

    def _finish(self) -> None:
        self._stop_timer()
        if self.ended.called:
            return
        if self.transport is not None:
            self.transport.loseConnection()
        error = self._reason.value
        status, number = 0, 0
        if isinstance(error, ProcessTerminated):
            status, number = error.exitCode or 0, error.signal or 0
        elif not isinstance(error, ProcessDone):
            number = signal.SIGKILL  # nobody knows
        self.ended.callback(Ended(status, int(number), self._cause, b"".join(self._output)))


def run(
    reactor: Any,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: int,
    *,
    directory: str,
    time_limit: float,
    output_limit: int,
    owner: tuple[int, int] | None = None,
) -> Deferred[Ended]:
    """
    Run `arguments` with the descriptor `stdin`, as `owner` (user and group id) where there is one.

    The first argument is the path of the program.
    """
    program = Program(reactor, time_limit, output_limit)
    words = [*group_leader(), *arguments]
    uid, gid = owner or (None, None)
    encoded = {name.encode(): value.encode("utf-8", "surrogateescape") for name, value in environment.items()}
    try:
        reactor.spawnProcess(
            program,
            words[0],
            [word.encode("utf-8", "surrogateescape") for word in words],
            env=encoded,
            path=directory,
            uid=uid,
            gid=gid,
            childFDs={0: stdin, 1: "r", 2: "r"},
        )
    except BaseException:
        program._stop_timer()
        raise
    return program.ended

"""A reactor whose processes have ended as soon as they are begun."""

from __future__ import annotations

import subprocess
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure


class _Transport:
    """What is left of a process that has ended."""

    pid = None

    def loseConnection(self) -> None:
        """There is nothing to lose."""


class ProcessesAtOnce(Clock):
    """Runs the real program, and waits for it. What it was asked to run stands in `runs`."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[dict[str, Any]] = []

    def spawnProcess(self, protocol: Any, _executable: str, args: list[bytes], **how: Any) -> None:
        self.runs.append({"args": args, **how})
        ended = subprocess.run(
            args,
            stdin=how["childFDs"][0],
            capture_output=True,
            env=how["env"],
            cwd=how["path"],
            check=False,
            timeout=30,
        )
        protocol.makeConnection(_Transport())
        protocol.childDataReceived(1, ended.stdout)
        protocol.childDataReceived(2, ended.stderr)
        status, signal = max(ended.returncode, 0), max(-ended.returncode, 0)
        reason = ProcessTerminated(status, signal or None) if ended.returncode else ProcessDone(0)
        protocol.processExited(Failure(reason))
        protocol.processEnded(Failure(reason))

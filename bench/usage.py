"""
What processes use, read from /proc: CPU time, memory, system calls of one kind.

Always of a process and all that descend from it, the ended ones too: Postfix is many, and they come and go.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from bench.processes import family

_TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)


def cpu_seconds(root: int) -> float:
    """User and system time of the family so far, that of children which have ended and were waited for included."""
    spent = 0.0
    for pid in family(root):
        with suppress(*_GONE):
            # Of the living in nanoseconds: many short-lived processes each lose a part of a tick of 10 ms in stat.
            for task in Path(f"/proc/{pid}/task").iterdir():
                with suppress(*_GONE):
                    spent += int((task / "schedstat").read_text().split()[0]) / 1e9
            # The name may hold blanks and parentheses; behind it come fields 3 and on: 16, 17 are those of the dead.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent += sum(map(int, fields[13:15])) / _TICKS
    return spent


def resident(pid: int, key: str) -> float:
    """A field of /proc/PID/status of one process, in MiB: VmRSS now, VmHWM at its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


def memory(root: int) -> float:
    """What the family has in memory, in MiB: proportional set sizes, so that what processes share counts once."""
    total = 0
    for pid in family(root):
        with suppress(*_GONE, PermissionError):
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total / 1024


class PeakMemory:
    """The largest `memory` of a family while the context lasts, looked at four times a second; in MiB, as `peak`."""

    def __init__(self, root: int) -> None:
        self.peak = memory(root)
        self._root = root
        self._over = Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()
        self.peak = max(self.peak, memory(self._root))

    def _look(self) -> None:
        while not self._over.wait(0.25):
            self.peak = max(self.peak, memory(self._root))


def counted_calls(summary: str) -> int:
    """The calls that a summary of ``strace -c`` has counted."""
    # "% time, seconds, usecs/call, calls, errors, syscall", where errors may be blank; the last line sums up.
    lines = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*?(\w+)$", summary, re.MULTILINE)
    return sum(int(calls) for calls, name in lines if name != "total")

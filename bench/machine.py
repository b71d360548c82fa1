"""What machine this is: the first thing to know of a figure."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from bench.processes import UnavailableError, program


def described(folder: Path) -> dict[str, str]:
    """Facts about the machine, by their names, with the time of an fsync in `folder`."""
    load = os.getloadavg()[0]
    model = _first(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)")
    kibibytes = int(_first(Path("/proc/meminfo"), r"MemTotal:\s*(\d+)"))
    return {
        "processor": f"{os.cpu_count()} cores, {model}",
        "memory": f"{kibibytes / (1 << 20):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "fsync": f"{fsync_milliseconds(folder):.2f} ms (median of 50, 4 KiB each, {_file_system(folder)})",
        "python": f"{platform.python_version()}, Twisted {version('twisted')}, SQLite {sqlite3.sqlite_version}",
        "postfix": _postfix(),
        "load before": f"{load:.2f}" + (" (the machine was busy with other things)" if load > 0.5 else ""),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def fsync_milliseconds(folder: Path) -> float:
    """The median time that appending 4 KiB and an fsync takes."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took) * 1000


def _first(path: Path, pattern: str) -> str:
    try:
        found = re.search(pattern, path.read_text())
    except OSError:
        found = None
    return found[1].strip() if found else "0"


def _file_system(folder: Path) -> str:
    """The type of the file system that `folder` is on: the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(point, kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(above, key=lambda mount: len(mount[0]))[1] if above else "unknown file system"


def _postfix() -> str:
    try:
        said = subprocess.run([program("postconf"), "-d", "mail_version"], capture_output=True, text=True, timeout=10)
    except (UnavailableError, OSError, subprocess.TimeoutExpired):
        return "not installed"
    return said.stdout.rpartition("=")[2].strip() or "not installed"

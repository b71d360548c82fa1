"""
What a power cut can't take: names in a folder.

Owns: the fsync of a folder, without which a file in it may be durable and its name not (fsync(2)).
Never: writes a file.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: str | Path) -> None:
    """Wait until the names in a folder are on disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

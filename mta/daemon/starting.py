"""
What must be right before anything is started.

Owns: `StartError`, the state directory with its lock, that the spool is one that can be used.
Never: starts anything.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

from mta.config.schema import Config
from mta.spool import SpoolError, place, schema, soundness
from mta.spool.ballast import Ballast

# Seconds for which the lock is asked for again: the workers of a daemon that was killed have it until they see that.
PATIENCE = 3.0


class StartError(Exception):
    """The daemon can't start; `code` is the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def reserve(config: Config, patience: float = PATIENCE) -> TextIO:
    """
    Make and lock the state directory, and see that its spool is one that this program can use: the lock.

    Nothing is started: it is called before twistd forks, so that what is wrong is said on the terminal. Raises
    `StartError`.
    """
    try:
        place.make(config.state_dir)
        lock = _locked(config, time.monotonic() + patience)
    except place.PlaceError as error:
        raise StartError(str(error), error.code) from error
    try:
        Ballast(config.state_dir).clear()  # a start takes room, too
        soundness.examine(config.state_dir / schema.FILE_NAME)
        database = schema.connect(config.state_dir / schema.FILE_NAME)
        try:
            schema.prepare(database, str(config.state_dir / schema.FILE_NAME))
        finally:
            database.close()
    except SpoolError as error:
        lock.close()
        raise StartError(str(error), os.EX_DATAERR) from error
    return lock


def _locked(config: Config, end: float) -> TextIO:
    while True:
        try:
            return place.lock(config.state_dir)
        except place.PlaceError as error:
            if error.code != os.EX_TEMPFAIL or time.monotonic() > end:
                raise
        time.sleep(0.05)


def complain(text: str) -> None:
    """Say one line on the terminal, past twistd's own log."""
    print(f"mta: {text}", file=sys.__stderr__, flush=True)

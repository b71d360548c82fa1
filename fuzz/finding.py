"""
A finding: an input on which a target fails.

Owns: running one input within a bound of time, what went wrong, a smaller input for the same, its place in the corpus.
Never: looks for one.
"""

from __future__ import annotations

import hashlib
import importlib
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import cast

Target = Callable[[bytes], None]

CORPUS = Path(__file__).parent.parent / "tests" / "corpus"
TARGETS = Path(__file__).parent / "targets"
# Seconds of the processor, not of the clock, for one input: a busy machine makes no findings. What is linear takes
# hundredths of it.
BUDGET = 1.0
# How often a smaller input is tried; the rest is work for a person.
TRIALS = 2000


class TooSlow(AssertionError):  # noqa: N818
    """An input took more than its share of the processor."""


def names() -> list[str]:
    """All targets."""
    return sorted(path.stem for path in TARGETS.glob("*.py") if path.stem != "__init__")


def find(name: str) -> Target:
    """The target of this name."""
    return cast("Target", importlib.import_module(f"fuzz.targets.{name}").target)


class _Stop(BaseException):
    """Ends what runs too long, also below `except Exception`."""


@contextmanager
def bounded(seconds: float = BUDGET) -> Iterator[None]:
    """Stop the block when it has used so much of the processor, with `TooSlow`. For the main thread only."""
    struck: list[str] = []

    def stop(_number: int, frame: FrameType | None) -> None:
        struck.extend(traceback.format_stack(frame, limit=1))
        raise _Stop

    before = signal.signal(signal.SIGVTALRM, stop)
    # Again and again: a Deferred makes a failure of whatever is raised, and goes on.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds / 10)
    try:
        yield
    except _Stop:
        pass
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    if struck:
        raise TooSlow(f"more than {seconds:g} s of the processor for one input\n{struck[0]}")


def failure(target: Target, data: bytes) -> Exception | None:
    """What the target raises for this input, or None."""
    try:
        with bounded():
            target(data)
    except Exception as error:
        return error
    return None


def _kind(error: Exception | None) -> tuple[object, ...]:
    """What makes two failures the same one: the exception and the line that raised it."""
    if error is None or isinstance(error, TooSlow):
        return (type(error),)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return type(error), last.filename, last.lineno


def smaller(target: Target, data: bytes) -> bytes:
    """A shorter input with the same failure: pieces are left out as long as it still fails."""
    wanted = _kind(failure(target, data))
    # Each trial of a slow input costs the whole budget.
    trials = 20 if wanted == (TooSlow,) else TRIALS
    size = len(data) // 2
    while size and trials > 0:
        at = 0
        while at < len(data) and trials > 0:
            trials -= 1
            shorter = data[:at] + data[at + size :]
            if _kind(failure(target, shorter)) == wanted:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def keep(name: str, data: bytes, folder: Path = CORPUS) -> Path:
    """Put a finding into the corpus, as small as it gets; what fails under coverage alone stays as it is. Its path."""
    target = find(name)
    if failure(target, data) is not None:
        data = smaller(target, data)
    path = folder / name / f"crash-{hashlib.sha256(data).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path

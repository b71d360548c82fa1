"""
Store messages for mboxes in groups.

Owns: which of them share a turn at a mailbox: while one is written to, the next gather. How long a lock is waited for.
Never: makes a path, knows what a fault of the disk means.
Fails: for each message on its own, with what `append` says of it.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mta.delivery.dotlock import LockedError
from mta.delivery.group_store import RunInThread
from mta.delivery.mbox_file import MboxMessage, append

# Postfix, deliver_lock_attempts and deliver_lock_delay.
ATTEMPTS = 20
DELAY = 1.0
MAX_GROUP = 50

_Waiting = tuple[MboxMessage, "Deferred[None]"]


class MboxStore:
    """One thread at a mailbox at most; `base` as for `append`."""

    def __init__(self, run_in_thread: RunInThread, clock: IReactorTime) -> None:
        self._run_in_thread = run_in_thread
        self._clock = clock
        self._waiting: dict[Path, deque[_Waiting]] = {}

    def store(self, path: Path, message: MboxMessage, base: Path | None) -> Deferred[None]:
        """Append a message; fires when it is in the mailbox and a power cut can't lose it."""
        done: Deferred[None] = Deferred()
        waiting = self._waiting.get(path)
        if waiting is not None:
            waiting.append((message, done))
            return done
        self._waiting[path] = deque([(message, done)])
        Deferred.fromCoroutine(self._empty(path, base))
        return done

    async def _empty(self, path: Path, base: Path | None) -> None:
        """Write what waits for a mailbox, group after group."""
        waiting = self._waiting[path]
        while waiting:
            group = [waiting.popleft() for _ in range(min(MAX_GROUP, len(waiting)))]
            error = await self._written(path, group, base)
            if error is None or isinstance(error, LockedError) or len(group) == 1:
                _tell(group, error)
                continue
            for single in group:  # one that is too large for the disk must not hold up the others
                _tell([single], await self._written(path, [single], base))
        del self._waiting[path]

    async def _written(self, path: Path, group: list[_Waiting], base: Path | None) -> Exception | None:
        messages = [message for message, _done in group]
        for attempt in range(ATTEMPTS):
            try:
                await self._run_in_thread(lambda: append(path, messages, base))
            except LockedError as error:
                locked = error
                if attempt < ATTEMPTS - 1:
                    await deferLater(self._clock, DELAY)
            except Exception as error:
                return error
            else:
                return None
        return locked


def _tell(group: list[_Waiting], error: Exception | None) -> None:
    for _message, done in group:
        if done.called:
            continue  # cancelled
        if error is None:
            done.callback(None)
        else:
            done.errback(error)

"""
Store messages for mailboxes in groups.

Owns: which of them share a trip to a thread. While groups are on the disk, the next gathers; so they form by
themselves, as in the group commit of the spool.
Never: makes a name or a path, knows what a fault of the disk means.
Fails: for each message on its own, with what `store_group` says of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.delivery.mailbox import MailboxFile, store_group

T = TypeVar("T")

# Each has a file open, and the first of a group waits for the last.
MAX_GROUP = 50
# One thread alone waits for the interpreter behind the reactor at each step: on a machine busy with other things
# 426, 427, 983 messages a second, and 717, 745, 1,026 with three (in turns; with a thread for each file 630, 521, 587).
GROUPS_AT_ONCE = 3


class RunInThread(Protocol):
    """Runs `work` in another thread: ``partial(deferToThreadPool, reactor, pool)``; at once in the simulator."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]: ...


class GroupStore:
    """`at_once` groups are under way at most, each by `run_in_thread`."""

    def __init__(self, run_in_thread: RunInThread, at_once: int = GROUPS_AT_ONCE) -> None:
        self._run_in_thread = run_in_thread
        self._waiting: list[tuple[MailboxFile, bytes, Deferred[None]]] = []
        self._at_once = at_once
        self._storing = 0

    def store(self, file: MailboxFile, content: bytes) -> Deferred[None]:
        """Write a whole message; fires when it is in the mailbox and a power cut can't lose it."""
        done: Deferred[None] = Deferred()
        self._waiting.append((file, content, done))
        self._go_on()
        return done

    def _go_on(self) -> None:
        if self._storing >= self._at_once or not self._waiting:
            return
        self._storing += 1
        group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
        messages = [(file, content) for file, content, _done in group]
        stored = self._run_in_thread(lambda: store_group(messages))
        stored.addCallbacks(self._stored, self._failed, (group,), errbackArgs=(group,))

    def _stored(self, errors: list[Exception | None], group: list[tuple[MailboxFile, bytes, Deferred[None]]]) -> None:
        # The next group goes first, for whoever is told may take long.
        self._storing -= 1
        self._go_on()
        for (_file, _content, done), error in zip(group, errors, strict=True):
            if error is None:
                done.callback(None)
            else:
                done.errback(error)

    def _failed(self, fault: Failure, group: list[tuple[MailboxFile, bytes, Deferred[None]]]) -> None:
        """No thread could be had, or a bug of ours."""
        self._storing -= 1
        self._go_on()
        for _file, _content, done in group:
            done.errback(fault)

"""Groups of messages on their way into mailboxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.delivery.group_store import MAX_GROUP, GroupStore
from mta.delivery.mailbox import MailboxFile

T = TypeVar("T")


class GroupStoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp())
        self.base.mkdir()
        self.works: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.group = GroupStore(self.run_in_thread, at_once=1)

    def run_in_thread(self, work: Callable[[], T], /) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        self.works.append((work, done))
        return done

    def run_one(self) -> None:
        """Let the thread do what it was given first."""
        work, done = self.works.pop(0)
        done.callback(work())

    def store(self, *names: str, mailbox: str = "alice") -> list[Deferred[None]]:
        return [
            self.group.store(MailboxFile(self.base, PurePosixPath(mailbox), name, name), name.encode())
            for name in names
        ]

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.base / "alice/new").iterdir())

    def test_gathering(self) -> None:
        """What comes while a group is on the disk is the next one, and who waits is told when his own is done."""
        (first, second, third) = self.store("first", "second", "third")
        self.run_one()
        self.successResultOf(first)
        self.assertEqual(["first"], self.names())
        self.assertNoResult(second)
        self.assertEqual(1, len(self.works))
        self.run_one()
        for done in (second, third):
            self.successResultOf(done)
        self.assertEqual(["first", "second", "third"], self.names())
        self.assertEqual([], self.works)

    def test_groups_at_once(self) -> None:
        """A group that hangs keeps the others from the disk only where there are as many as may be."""
        self.group = GroupStore(self.run_in_thread, at_once=2)
        (hanging, second, third) = self.store("hanging", "second", "third")
        self.assertEqual(2, len(self.works))
        stuck = self.works.pop(0)
        self.run_one()
        self.run_one()
        self.successResultOf(second)
        self.successResultOf(third)
        self.assertNoResult(hanging)
        self.works.append(stuck)
        self.run_one()
        self.successResultOf(hanging)

    def test_large_groups(self) -> None:
        """A group has a bound: more takes further trips, in the order it came."""
        waiting = self.store(*(f"{number:03}" for number in range(2 * MAX_GROUP + 2)))
        done = []
        while self.works:
            self.run_one()
            done.append(sum(each.called for each in waiting))
        self.assertEqual([1, 1 + MAX_GROUP, 1 + 2 * MAX_GROUP, 2 + 2 * MAX_GROUP], done)

    def test_faults(self) -> None:
        """Each is told of its own fault."""
        (self.base / "bob").write_text("in the way")
        self.store("first")
        (good,), (bad,) = self.store("good"), self.store("bad", mailbox="bob")
        self.run_one()
        self.run_one()
        self.successResultOf(good)
        self.failureResultOf(bad, OSError)

    def test_no_thread(self) -> None:
        """Where the trip itself fails all of the group fail, and the next group goes."""
        (first, second) = self.store("first", "second")
        self.works.pop(0)[1].errback(RuntimeError("can't start new thread"))
        self.failureResultOf(first, RuntimeError)
        self.run_one()
        self.successResultOf(second)

    def test_cancelled(self) -> None:
        """Who does not wait any more is told at once; the group goes on for the others."""
        (_first, second, third) = self.store("first", "second", "third")
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.run_one()
        self.run_one()
        self.successResultOf(third)

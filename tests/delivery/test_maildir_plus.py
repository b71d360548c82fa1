"""Maildirs with a quota and with folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.maildir_plus import MaildirPlusAgent
from mta.delivery.maildir_quota import MAX_SIZE, Quota
from mta.destination import Destination, NextHop, Transport
from tests.delivery.material import ONE, Content, delivery
from tests.smtp_client.dialogue import brief

T = TypeVar("T")
PLACE = Destination(NextHop(Transport.MAILDIR, "{user}/Maildir"), "maildir")


def at_once(work: Callable[[], T]) -> Deferred[T]:
    return maybeDeferred(work)


class QuotaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.box = Path(self.mktemp()).absolute()
        for name in ("new", "cur", "tmp", ".lists/new", ".lists/cur", ".Trash/cur", ".Trash.old/cur"):
            (self.box / name).mkdir(parents=True)
        self.file = self.box / "maildirsize"
        self.quota = Quota(1000, 10)

    def put(self, name: str, size: int) -> None:
        (self.box / name).write_bytes(b"x" * size)

    def test_counted(self) -> None:
        """All folders count, but for the trash and what is marked as deleted; a size in a name is believed."""
        self.put("new/1", 100)
        self.put("cur/2:2,S", 50)
        self.put("cur/3:2,ST", 400)
        self.put(".lists/cur/4,S=300:2,", 1)
        self.put(".Trash/cur/5", 400)
        self.put(".Trash.old/cur/6", 400)
        self.assertTrue(self.quota.has_room(self.box, 550, 0.0))
        self.assertEqual("1000S,10C\n450 3        \n", self.file.read_text())
        self.assertFalse(self.quota.has_room(self.box, 551, 0.0))

    def test_added(self) -> None:
        """A stored message is a line more; the sum of the lines is believed while there is room."""
        self.quota.has_room(self.box, 0, 0.0)
        self.quota.add(self.box, 600)
        self.assertEqual("1000S,10C\n0 0          \n600 1        \n", self.file.read_text())
        self.file.write_text("1000S,10C\n900 5\n-400 -2\n")
        self.assertTrue(self.quota.has_room(self.box, 500, 0.0))

    def test_full(self) -> None:
        """What says "full" is counted anew, unless it was counted within the last 15 minutes."""
        for text, age, room in (
            ("1000S,10C\n1000 1\n", 0, False),
            ("1000S,10C\n1000 1\n", 1000, True),
            ("1000S,10C\n500 1\n500 1\n", 0, True),
        ):
            self.file.write_text(text)
            os.utime(self.file, (1e9 - age, 1e9 - age))
            self.assertEqual(room, self.quota.has_room(self.box, 1, 1e9), text)

    def test_made_anew(self) -> None:
        """A file of another quota, a broken one, one that is too long, a link: it is counted anew."""
        self.put("new/1", 7)
        for text in (
            "500S\n1 1\n",
            "",
            "1000S,10C\n1 x\n",
            "1000S,10C\n1 1",
            "1000S,10C\n-5 1\n",
            "1000S,10C\n" + "1 1\n" * MAX_SIZE,
        ):
            self.file.write_text(text)
            self.assertTrue(self.quota.has_room(self.box, 1, 0.0))
            self.assertEqual("1000S,10C\n7 1          \n", self.file.read_text(), text[:30])
        other = self.box / "other"
        other.write_text("1000S,10C\n1000 1\n")
        self.file.unlink()
        self.file.symlink_to(other)
        self.assertTrue(self.quota.has_room(self.box, 1, 0.0))
        self.quota.add(self.box, 5)
        self.assertEqual("1000S,10C\n1000 1\n", other.read_text())

    def test_kinds(self) -> None:
        """Each of the two may be left out."""
        self.put("new/1", 7)
        self.assertEqual(("9S", "1C", ""), (Quota(9).header, Quota(0, 1).header, Quota().header))
        self.assertEqual((True, False), (Quota(9).has_room(self.box, 2, 0.0), Quota(9).has_room(self.box, 3, 0.0)))
        self.assertFalse(Quota(0, 1).has_room(self.box, 0, 0.0))

    def test_no_mailbox(self) -> None:
        """Where there is no Maildir there is room, and none is made by the count."""
        place = self.box / "nobody"
        self.assertTrue(self.quota.has_room(place, 1000, 0.0))
        self.quota.add(place, 1000)
        self.assertFalse(place.exists())


class MaildirPlusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.clock = Clock()

    def outcome(self, recipient: Address = ONE, content: Content | None = None, **how: object) -> str:
        words: dict[str, object] = {"quota": Quota(), **how}
        agent = MaildirPlusAgent(
            base=self.base,
            hostname="mx.test",
            clock=self.clock,
            run_in_thread=at_once,
            **words,  # type: ignore[arg-type]
        )
        what = delivery(PLACE, (recipient,), content)
        return brief(self.successResultOf(agent.deliver(what))[recipient])

    def names(self, folder: str) -> list[str]:
        return [path.name for path in (self.base / folder / "new").iterdir()]

    def test_over_quota(self) -> None:
        """A message without room waits with 4.2.2, or fails with 5.2.2; one in chunks as well, and nothing is left."""
        self.assertEqual("delivered", self.outcome(quota=Quota(0, 1)))
        for content in (Content(), Content(chunk_size=5)):
            self.assertEqual("deferral 4.2.2 recipient", self.outcome(content=content, quota=Quota(0, 1)))
            failed = self.outcome(content=content, quota=Quota(0, 1), over_quota_fails=True)
            self.assertEqual("failure 5.2.2", failed)
        self.assertEqual(1, len(self.names("one/Maildir")))
        self.assertEqual([], list((self.base / "one/Maildir/tmp").iterdir()))

    def test_sizes(self) -> None:
        """What is counted is what is stored, with LF at the end of lines."""
        (self.base / "one/Maildir/new").mkdir(parents=True)
        for name in ("cur", "tmp"):
            (self.base / "one/Maildir" / name).mkdir()
        self.outcome(quota=Quota(10_000))
        (path,) = (self.base / "one/Maildir/new").iterdir()
        lines = (self.base / "one/Maildir/maildirsize").read_text().split("\n")
        self.assertEqual(["10000S", "0 0", f"{path.stat().st_size} 1"], [line.strip() for line in lines[:3]])

    def test_folders(self) -> None:
        """An extension is a folder where the user has one of that name, else the mail is in the inbox."""
        for folder in ("one/Maildir/.lists", "one/Maildir/.a.b"):
            (self.base / folder).mkdir(parents=True)
        for extension, where in (
            ("lists", "one/Maildir/.lists"),
            ("other", "one/Maildir"),
            ("a.b", "one/Maildir"),
            ("../x", "one/Maildir"),
            ("", "one+/Maildir"),
        ):
            before = len(self.names(where)) if (self.base / where / "new").exists() else 0
            self.assertEqual("delivered", self.outcome(Address(f"one+{extension}", "to.test"), folders=True))
            self.assertEqual(max(1, before), len(self.names(where)), extension)
        self.assertEqual("delivered", self.outcome(Address("one+lists", "to.test")))
        self.assertEqual(1, len(self.names("one+lists/Maildir")))

    def test_folder_counts(self) -> None:
        """What is in a folder counts for the user's quota."""
        (self.base / "one/Maildir/.lists").mkdir(parents=True)
        who = Address("one+lists", "to.test")
        self.assertEqual("delivered", self.outcome(who, folders=True, quota=Quota(0, 1)))
        self.assertEqual("deferral 4.2.2 recipient", self.outcome(folders=True, quota=Quota(0, 1)))
        self.assertFalse((self.base / "one/Maildir/.lists/maildirsize").exists())

    def test_nobody(self) -> None:
        """Whether there is such a user is asked of the name without the extension."""
        asked: list[Address] = []

        def is_nobody(address: Address) -> bool:
            asked.append(address)
            return False

        self.outcome(Address("one+x", "to.test"), folders=True, is_nobody=is_nobody)
        self.assertEqual([ONE], asked)

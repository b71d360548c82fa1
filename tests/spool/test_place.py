"""The state directory: the lock, and the room on its disk."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from mta.spool import place

MEGABYTE = 1 << 20


class LockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def test_second_daemon_is_kept_out_until_the_first_is_gone(self) -> None:
        """The lock is had once; who asks meanwhile is told by whom, with EX_TEMPFAIL; closing it frees it."""
        place.make(self.directory)
        first = place.lock(self.directory)
        place.sign(first, 4711)
        error = self.assertRaises(place.PlaceError, place.lock, self.directory)
        self.assertIn("another daemon uses this state directory (process 4711)", str(error))
        self.assertEqual(os.EX_TEMPFAIL, error.code)
        first.close()
        place.lock(self.directory).close()

    def test_directory_is_made_for_its_owner_alone(self) -> None:
        """Queued mail is private: the directory is 0700, its parents are made too."""
        nested = self.directory / "a" / "b"
        place.make(nested)
        self.assertEqual(0o700, nested.stat().st_mode & 0o777)
        place.make(nested)

    def test_place_that_is_a_file(self) -> None:
        """A file where the directory should be is one clear error with EX_CANTCREAT."""
        self.directory.write_text("")
        error = self.assertRaises(place.PlaceError, place.make, self.directory)
        self.assertEqual(os.EX_CANTCREAT, error.code)
        self.assertIn(str(self.directory), str(error))

    def test_unwritable_directory(self) -> None:
        """A directory in which no file can be made, for root neither, is one clear error with EX_CANTCREAT."""
        error = self.assertRaises(place.PlaceError, place.lock, Path("/proc"))
        self.assertEqual(os.EX_CANTCREAT, error.code)
        self.assertIn("/proc/lock: cannot write to the state directory", str(error))


class RoomTests(SynchronousTestCase):
    """A disk of 1000 blocks of a megabyte, messages of 50 MB, a tenth to be free."""

    def room(self, free: int) -> bool:
        self.patch(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=free, f_blocks=1000, f_frsize=MEGABYTE))
        return place.Room(Path("/"), 10, 50 * MEGABYTE, lambda: 0.0)()

    def test_both_conditions_hold(self) -> None:
        """Room is a tenth of the disk and twice the largest message, whichever is more."""
        self.assertTrue(self.room(100))
        self.assertFalse(self.room(99))

    def test_twice_the_largest_message_on_a_small_disk(self) -> None:
        """On a small disk a tenth is not enough."""
        self.patch(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=99, f_blocks=200, f_frsize=MEGABYTE))
        self.assertFalse(place.Room(Path("/"), 10, 50 * MEGABYTE, lambda: 0.0)())

    def test_measure_is_kept_for_a_second(self) -> None:
        """The disk is asked once a second, also after the clock was set back."""
        asked: list[object] = []

        def statvfs(path: object) -> SimpleNamespace:
            asked.append(path)
            return SimpleNamespace(f_bavail=500, f_blocks=1000, f_frsize=MEGABYTE)

        self.patch(os, "statvfs", statvfs)
        times = iter([10.0, 10.5, 10.9, 11.1, 5.0, 5.5])
        room = place.Room(Path("/"), 10, MEGABYTE, lambda: next(times))
        for _ in range(6):
            room()
        self.assertEqual(3, len(asked))

    def test_disk_that_can_not_be_asked_has_no_room(self) -> None:
        """A spool file that is gone takes no mail, nor does another one in its place."""
        times = iter([0.0, 1.0, 2.0])
        spool = Path(self.mktemp())
        spool.touch()
        self.patch(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=500, f_blocks=1000, f_frsize=MEGABYTE))
        room = place.Room(spool, 10, MEGABYTE, lambda: next(times))
        self.assertTrue(room())
        spool.rename(f"{spool}.moved")  # not deleted: its number must not be given to the next file
        self.assertFalse(room())
        spool.touch()
        self.assertFalse(room())

"""Files that lists and users name."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.table import CouldNotAsk
from mta.tables.backend import Trouble
from mta.tables.personal import MAX_FILES, ForwardFiles, IncludedFiles
from tests.tables.surroundings import at_once


class ForwardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        (self.home / "alice").mkdir(parents=True)
        self.path = self.home / "alice" / ".forward"
        self.files = ForwardFiles("{user}/.forward", self.home)

    def write(self, mode: int = 0o600) -> None:
        self.path.write_text("\\alice, far@c.test\n")
        self.path.chmod(mode)

    def test_good(self) -> None:
        """The lines of a file that nobody else can write are the value; without a file there is none."""
        self.assertIsNone(self.files.ask("alice@a.test"))
        for mode in (0o600, 0o644):
            self.write(mode)
            self.assertEqual(("\\alice, far@c.test", ""), self.files.ask("alice@a.test"))
        self.assertIsNone(self.files.ask("nobody@a.test"))

    def test_writable_by_others(self) -> None:
        """A file that others can write may be from anybody: then it can't be told where the mail goes."""
        for mode in (0o620, 0o602, 0o666):
            self.write(mode)
            with self.assertRaises(Trouble) as caught:
                self.files.ask("alice@a.test")
            self.assertIn("can be written by others", str(caught.exception))

    def test_no_regular_file(self) -> None:
        """No link is followed, and nothing is read from a pipe or a folder."""
        target = self.home / "target"
        target.write_text("far@c.test\n")
        for make in (
            lambda: self.path.symlink_to(target.absolute()),
            lambda: os.mkfifo(self.path),
            self.path.mkdir,
        ):
            make()
            with self.assertRaises(Trouble):
                self.files.ask("alice@a.test")
            if self.path.is_dir() and not self.path.is_symlink():
                self.path.rmdir()
            else:
                self.path.unlink()

    def test_owner(self) -> None:
        """A file of somebody else is not believed; root's, ours, and that of the machine's user of the name are."""
        self.write()
        if os.geteuid() != 0:
            return
        os.chown(self.path, 12345, -1)
        with self.assertRaises(Trouble):
            self.files.ask("alice@a.test")
        (self.home / "nobody").mkdir()
        other = self.home / "nobody" / ".forward"
        other.write_text("far@c.test")
        os.chown(other, 65534, -1)
        self.assertEqual(("far@c.test",), self.files.ask("nobody@a.test"))

    def test_names_are_no_paths(self) -> None:
        """No name of a user leads to another folder."""
        (self.home / ".forward").write_text("far@c.test")
        for name in ("..", ".", "alice/..", "../alice", "a\0b", "/etc"):
            self.assertIsNone(self.files.ask(f"{name}@a.test"), name)

    def test_too_large(self) -> None:
        """What is no list of a person is not read."""
        self.path.write_bytes(b"a" * 70_000)
        self.path.chmod(0o600)
        with self.assertRaises(Trouble):
            self.files.ask("alice@a.test")


class IncludeTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """The value is the lines, whatever the key; many files do not grow without bound."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files = IncludedFiles(Clock(), at_once, lambda _kind, _fields: None)
        for number in range(MAX_FILES + 5):
            path = folder / str(number)
            path.write_text(f"x{number}\n# y\n")
            found = files.lookup(str(path))
            found = self.successResultOf(found) if isinstance(found, Deferred) else found
            self.assertEqual((f"x{number}", "# y", ""), found)
        self.assertEqual(MAX_FILES, len(files._files))
        self.assertIsInstance(files.lookup(str(folder / "none")), CouldNotAsk)
        files.close()

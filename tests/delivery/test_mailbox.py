"""Paths of mailboxes, and the files in them."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.mailbox import MailboxError, MailboxFile, mailbox_path, store_group

TEMPLATE = "mail/{domain}/{user}/Maildir"


class PathTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Parts of an address become single names, whatever they hold; two addresses never share one."""
        for local, name in (
            ("alice", "alice"),
            ("Alice", "alice"),
            ("a.b+c-d_e=f~g", "a.b+c-d_e=f~g"),
            ("a/b", "a%2Fb"),
            ("../x", "%2E.%2Fx"),
            ("..", "%2E."),
            (".", "%2E"),
            (".hidden", "%2Ehidden"),
            ("a%2fb", "a%252fb"),
            ("a b", "a%20b"),
            ("a\x00b", "a%00b"),
            ("a\nb", "a%0Ab"),
            ("{domain}", "%7Bdomain%7D"),
            ("$(rm)", "%24%28rm%29"),
            ("\u00fc", "%C3%BC"),
            ("\udcff", "%ED%B3%BF"),
        ):
            self.assertEqual(
                f"mail/to.test/{name}/Maildir", str(mailbox_path(TEMPLATE, Address(local, "to.test"))), local
            )

    def test_domains(self) -> None:
        """A domain is no safer than a local part."""
        for domain, name in (("[192.0.2.1]", "%5B192.0.2.1%5D"), ("../..", "%2E.%2F.."), ("To.Test", "to.test")):
            self.assertEqual(f"mail/{name}/a/Maildir", str(mailbox_path(TEMPLATE, Address("a", domain))))

    def test_refused(self) -> None:
        """What can't be a path below the folder is an error, not a guess."""
        for template, local in (
            (TEMPLATE, ""),
            (TEMPLATE, "x" * 256),
            (TEMPLATE, "/" * 100),
            ("/var/mail/{user}", "a"),
            ("//{user}", "a"),
            ("../{user}", "a"),
            ("mail/../../{user}", "a"),
            ("", "a"),
            (".", "a"),
            ("{user}" * 60, "aaaaa"),
        ):
            self.assertRaises(MailboxError, mailbox_path, template, Address(local, "to.test"))

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
    def test_never_leaves(self, local: str, domain: str) -> None:
        """No address at all leads out of the folder, or into a folder that its template does not name."""
        path = mailbox_path(TEMPLATE, Address(local, domain))
        self.assertEqual(4, len(path.parts))
        self.assertEqual(("mail", "Maildir"), (path.parts[0], path.parts[3]))
        normal = PurePosixPath(os.path.normpath(Path("/state") / path))
        self.assertEqual(PurePosixPath("/state") / path, normal)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
    def test_distinct(self, one: str, other: str) -> None:
        """Two local parts share a mailbox only where they differ in case alone."""
        same = mailbox_path("{user}", Address(one, "x")) == mailbox_path("{user}", Address(other, "x"))
        self.assertEqual(one.lower() == other.lower(), same)


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp())
        self.base.mkdir()

    def file(self, name: str = "unique") -> MailboxFile:
        return MailboxFile(self.base, PurePosixPath("mail/alice"), name, name)

    def write(self, file: MailboxFile, *pieces: bytes) -> None:
        """Piece by piece, as what is large comes."""
        file.open()
        for piece in pieces:
            file.write(piece)
        file.finish()

    def store(self, file: MailboxFile, content: bytes) -> None:
        """In one go, as what is small comes."""
        (error,) = store_group([(file, content)])
        if error is not None:
            raise error

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.base / "mail/alice" / folder).iterdir())

    def stored(self, *pieces: bytes) -> bytes:
        self.write(self.file(), *pieces)
        path = self.base / "mail/alice/new/unique"
        data = path.read_bytes()
        path.unlink()
        return data

    def test_line_ends(self) -> None:
        """CRLF is stored as LF, wherever the pieces are cut; no other octet changes."""
        content = b"a\r\n\r\nb\rc\nd\r\r\n\x00\xff"
        for cut in range(len(content) + 1):
            self.assertEqual(b"a\n\nb\rc\nd\r\n\x00\xff", self.stored(content[:cut], content[cut:]), cut)
        self.assertEqual(b"a\n\nb\rc\nd\r\n\x00\xff", self.stored(*(bytes([octet]) for octet in content)))

    def test_binary_is_stored_as_it_is(self) -> None:
        """Of binary content no octet changes, a CRLF neither, wherever the pieces are cut (RFC 3030 3)."""
        content = b"a\r\n\r\nb\rc\nd\r\r\n\x00\xff\r"
        for cut in range(len(content) + 1):
            file = MailboxFile(self.base, PurePosixPath("mail/alice"), "unique", "draft", binary=True)
            self.write(file, content[:cut], content[cut:])
            path = self.base / "mail/alice/new/unique"
            self.assertEqual(content, path.read_bytes(), cut)
            path.unlink()

    def test_last_octet_may_be_a_cr(self) -> None:
        """A CR at the very end is kept."""
        self.assertEqual(b"x\r", self.stored(b"x\r"))

    def test_private(self) -> None:
        """Mail is readable by its owner alone."""
        self.store(self.file(), b"x")
        for path, mode in (("mail/alice", 0o700), ("mail/alice/new", 0o700), ("mail/alice/new/unique", 0o600)):
            self.assertEqual(mode, stat.S_IMODE((self.base / path).stat().st_mode), path)

    def test_invisible_until_finished(self) -> None:
        """A message is in new only when it is whole and on disk."""
        file = self.file()
        file.open()
        file.write(b"half")
        self.assertEqual(([], ["unique"]), (self.names("new"), self.names("tmp")))
        file.finish()
        self.assertEqual((["unique"], []), (self.names("new"), self.names("tmp")))

    def test_order_of_the_durable_steps(self) -> None:
        """The file is synced before it is renamed, its folder after: a power cut loses nothing that was reported."""
        self.store(self.file("first"), b"x")
        with self.steps() as steps:
            self.store(self.file(), b"x")
        self.assertEqual(["sync unique", "rename unique", "sync new"], steps)
        with self.steps() as steps:
            self.write(self.file("second"), b"x")
        self.assertEqual(["sync second", "rename second", "sync new"], steps)

    @contextmanager
    def steps(self) -> Iterator[list[str]]:
        """What is synced and renamed meanwhile."""
        steps: list[str] = []
        sync, rename = os.fsync, os.rename

        def record_sync(descriptor: int) -> None:
            steps.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
            sync(descriptor)

        def record_rename(old: str, new: str) -> None:
            steps.append(f"rename {Path(new).name}")
            rename(old, new)

        with patch("os.fsync", record_sync), patch("os.rename", record_rename):
            yield steps

    def test_new_folders_are_synced(self) -> None:
        """A mailbox that is made for the message is as durable as the message, up to the folder that was there."""
        synced: list[str] = []
        sync = os.fsync

        def record(descriptor: int) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            sync(descriptor)

        with patch("os.fsync", record):
            self.store(self.file(), b"x")
        for folder in (self.base, self.base / "mail", self.base / "mail/alice"):
            self.assertIn(str(folder.absolute()), synced)

    def test_nothing_stays_behind(self) -> None:
        """A message that could not be stored leaves no file."""
        for broken in ("os.fsync", "os.rename"):
            self.store(self.file("first"), b"x")
            with patch(broken, side_effect=OSError(28, "No space left on device")):
                self.assertRaises(OSError, self.store, self.file(), b"x")
            self.assertEqual((["first"], []), (self.names("new"), self.names("tmp")))

    def test_never_overwrites(self) -> None:
        """A name that is taken is an error: the file that has it stays as it is."""
        first = self.file()
        first.open()
        self.assertRaises(FileExistsError, self.store, self.file(), b"y")
        first.write(b"x")
        first.finish()
        self.assertEqual(b"x", (self.base / "mail/alice/new/unique").read_bytes())

    def test_group(self) -> None:
        """A group takes each step together, in the same order as one message does, and syncs its folder once."""
        self.store(self.file("first"), b"x")
        with self.steps() as steps:
            errors = store_group([(self.file(name), name.encode()) for name in ("a", "b")])
        self.assertEqual([None, None], errors)
        self.assertEqual(["sync a", "sync b", "rename a", "rename b", "sync new"], steps)
        for name in ("a", "b"):
            self.assertEqual(name.encode(), (self.base / "mail/alice/new" / name).read_bytes())

    def test_fault_in_a_group(self) -> None:
        """What can't be stored leaves no file, and takes no other message along, whichever step fails."""
        self.store(self.file("first"), b"x")
        for step in ("open", "write", "fsync", "rename"):
            genuine, calls = getattr(os, step), iter((False, True, False))

            def broken(*arguments: Any, genuine: Any = genuine, calls: Iterator[bool] = calls, **more: Any) -> Any:
                if next(calls, False):
                    raise OSError(5, "Input/output error")
                return genuine(*arguments, **more)

            files = [self.file(f"{step}{number}") for number in range(3)]
            with patch(f"os.{step}", broken):
                errors = store_group([(file, b"x") for file in files])
            self.assertEqual([False, True, False], [error is not None for error in errors], step)
            self.assertEqual([f"{step}0", f"{step}2"], [each for each in self.names("new") if each.startswith(step)])
            self.assertEqual([], self.names("tmp"))

    def test_folder_that_is_not_durable(self) -> None:
        """A fault of a folder's sync holds for all in it: asked again, it may say yes to what is lost."""
        other = MailboxFile(self.base, PurePosixPath("mail/bob"), "unique", "unique")
        self.store(other, b"x")
        self.store(self.file("first"), b"x")
        sync, faults = os.fsync, iter((OSError(5, "Input/output error"),))

        def broken(descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("alice/new"):
                for error in faults:
                    raise error
            sync(descriptor)

        again = MailboxFile(self.base, PurePosixPath("mail/bob"), "again", "again")
        with patch("os.fsync", broken):
            errors = store_group([(self.file("a"), b"x"), (again, b"x"), (self.file("b"), b"x")])
        self.assertEqual([OSError, type(None), OSError], [type(error) for error in errors])

    def test_folder_that_is_gone(self) -> None:
        """Whichever folder somebody has removed, the mailbox is whole again with the next message."""
        for folder in ("tmp", "new"):
            self.store(self.file("first"), b"x")
            shutil.rmtree(self.base / "mail/alice" / folder)
            self.store(self.file(), b"x")
            self.assertIn("unique", self.names("new"))
            self.assertEqual(["cur", "new", "tmp"], sorted(os.listdir(self.base / "mail/alice")))

    def test_short_writes(self) -> None:
        """What the system does not take at once is written again from there."""
        write = os.write
        with patch("os.write", lambda descriptor, data: write(descriptor, data[:3])):
            self.assertEqual(b"a\nlonger\ntext", self.stored(b"a\r\nlonger\r\n", b"text"))

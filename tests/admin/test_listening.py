"""Binding the control socket, on real UNIX sockets: what is tested is what the kernel and the file system say."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from mta.admin.listening import ControlSocketError, listen
from mta.admin.peer import uid_of
from mta.config.checking import MAX_SOCKET_PATH


class ListenTests(TestCase):
    def setUp(self) -> None:
        # A path of trial's own may be too long for a socket.
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "control"

    def listen(self, mode: int = 0o600) -> IListeningPort:
        port = listen(reactor, self.path, mode, Factory())  # type: ignore[arg-type]
        self.addCleanup(port.stopListening)
        return port

    def assert_refused(self, words: str) -> None:
        before = self.path.lstat() if len(str(self.path)) <= MAX_SOCKET_PATH else None
        with self.assertRaises(ControlSocketError) as caught:
            self.listen()
        self.assertIn(words, str(caught.exception))
        self.assertIn(str(self.path), str(caught.exception))
        if before is not None:
            self.assertEqual(before.st_ino, self.path.lstat().st_ino)

    def test_mode(self) -> None:
        """The socket has the configured mode, whatever the umask, and the umask stays as it was."""
        before = os.umask(0o077)
        try:
            self.listen(0o660)
            self.assertEqual(0o077, os.umask(0o077))
        finally:
            os.umask(before)
        self.assertEqual(0o660, stat.S_IMODE(self.path.stat().st_mode))

    def test_stale_socket_is_replaced(self) -> None:
        """What a daemon that was killed left behind does not stop the next one."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(self.path))
            dead.listen()
        self.listen()

    def test_living_daemon_keeps_its_socket(self) -> None:
        """A socket that somebody listens on is not taken away, also when nobody accepts from it just now."""
        with socket.socket(socket.AF_UNIX) as living:
            living.bind(str(self.path))
            living.listen(0)
            with socket.socket(socket.AF_UNIX) as waiting:
                waiting.connect(str(self.path))
                self.assert_refused("another daemon")

    def test_other_files_are_left_alone(self) -> None:
        """A file that is no socket is not removed."""
        self.path.write_text("precious")
        self.assert_refused("no socket")
        self.assertEqual("precious", self.path.read_text())

    def test_path_too_long(self) -> None:
        """A path that does not fit into a socket address is refused in words."""
        self.path = self.path.with_name("x" * 120)
        self.assert_refused("longer than")

    def test_missing_folder(self) -> None:
        """A folder that is not there is made; one that can't be made is one clear line."""
        self.path = self.path / "somewhere" / "control"
        self.listen()
        self.path = self.path / "nowhere" / "control"
        with self.assertRaises(ControlSocketError):
            self.listen()


class PeerTests(TestCase):
    def test_uid_of_a_unix_peer(self) -> None:
        """The kernel says who is at the other end of a UNIX socket, and of nothing else."""

        class Transport:
            def __init__(self, handle: Any) -> None:
                self.getHandle = lambda: handle

        ours, theirs = socket.socketpair()
        with ours, theirs, socket.socket() as network:
            self.assertEqual(os.getuid(), uid_of(Transport(ours)))
            self.assertIsNone(uid_of(Transport(network)))
            self.assertIsNone(uid_of(Transport(None)))
            self.assertIsNone(uid_of(object()))

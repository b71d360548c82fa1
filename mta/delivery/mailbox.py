"""
Name a recipient's mailbox and write one message into it, as Maildir asks (cr.yp.to/proto/maildir.html).

Owns: the path of a mailbox, the order of the durable steps, the line ends of a stored message.
Never: knows Twisted: `MailboxFile` works in a thread; reads an address other than as text that may be hostile.
Fails: `MailboxError` for a path that can't be, OSError for all that a file system can do.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mta.address import Address
from mta.policy.directory import folded

# Everything else is written as %XX: "/" and NUL would change the path, a shell reads the others in its own way. "%" is
# among them, so two addresses never share a name.
_UNSAFE = re.compile(rb"[^a-z0-9_.+=@~-]")
MAX_COMPONENT = 255  # octets, of every file system in use


class MailboxError(ValueError):
    """An address or a template that gives no usable path; the text says which and why."""


def mailbox_path(template: str, address: Address) -> PurePosixPath:
    """
    The path of a recipient's mailbox: `template` with ``{user}`` and ``{domain}`` filled in, always relative.

    Local parts are folded to lower case, as the check of local users does. However an address is made, its parts stay
    single names that neither begin with a dot nor leave the folder.
    """
    user, domain = _component(address.local), _component(address.domain)
    path = PurePosixPath(*(part.replace("{user}", user).replace("{domain}", domain) for part in template.split("/")))
    if path.is_absolute() or ".." in path.parts or not path.parts or template.startswith("/"):
        raise MailboxError(f"mailbox path {template!r} does not stay below the state directory")
    if any(len(part.encode()) > MAX_COMPONENT for part in path.parts):
        raise MailboxError(f"mailbox name for {address.for_log()} is too long")
    return path


def _component(text: str) -> str:
    """`text` as one name of a path."""
    if not text:
        raise MailboxError("address has an empty part")
    octets = folded(text).encode("utf-8", "surrogatepass")
    safe = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], octets).decode("ascii")
    # "." and ".." are no names, and a leading dot hides a folder, or makes it one of Maildir++.
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe


class MailboxFile:
    """
    One message on its way into the Maildir `mailbox`, below the folder `base`.

    `name` is the message's for ever, the same whenever it is delivered again: what a crash kept from being recorded
    takes its own place. `draft` is the file's name while it is written, another one each time.

    Stored lines end in LF, as programs that read Maildirs expect (Postfix and Dovecot write them so); no other octet is
    changed. `binary` content is stored as it came: in a part of it 0D 0A are data like any others (RFC 3030 3), and
    where its text ends and its data begin is not for a mailbox to find out. Readers take lines with CRLF as well. Until
    `finish` has returned, nothing is visible; after, a power cut can't lose it.
    """

    def __init__(self, base: Path, mailbox: PurePosixPath, name: str, draft: str, *, binary: bool = False) -> None:
        self._base = base
        self._mailbox = base / mailbox
        self._temporary = self._mailbox / "tmp" / draft
        self._final = self._mailbox / "new" / name
        self._binary = binary
        self._file: BinaryIO | None = None
        self._held = b""  # a CR at the end of a piece, which may be half of a line end

    def store(self, pieces: Iterable[bytes]) -> None:
        """Write a message that is at hand, with all steps."""
        try:
            self.open()
            for piece in pieces:
                self.write(piece)
            self.finish()
        except BaseException:
            self.abort()
            raise

    def open(self) -> None:
        """Make the mailbox where it does not exist, and a file in its tmp."""
        for folder in ("tmp", "new", "cur"):
            self._make_folder(self._mailbox / folder)
        descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb")

    def write(self, piece: bytes) -> None:
        """Add the next piece, cut anywhere."""
        if self._binary:
            self._opened.write(piece)
            return
        window = self._held + piece
        self._held = b"\r" if window.endswith(b"\r") else b""
        if self._held:
            window = window[:-1]
        self._opened.write(window.replace(b"\r\n", b"\n"))

    def finish(self) -> None:
        """Make it durable, then visible, then durably visible."""
        file = self._opened
        file.write(self._held)
        file.flush()
        os.fsync(file.fileno())
        file.close()
        # Not link and unlink: what stands there already is this message, and some file systems have no links.
        os.rename(self._temporary, self._final)
        _sync(self._final.parent)

    def abort(self) -> None:
        """Remove what was written. Harmless where nothing was."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    @property
    def _opened(self) -> BinaryIO:
        assert self._file is not None
        return self._file

    def _make_folder(self, folder: Path) -> None:
        """Make `folder` and those above it, up to `base`. Each is synced into its parent, or a power cut undoes it."""
        if folder.is_dir():
            return
        if folder != self._base:
            self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):  # another thread, or another recipient's turn
            folder.mkdir(0o700)
            _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""
A whole message in a file without a name.

Owns: the line ends and the order of pieces. Whoever is given the file has all of the message, whatever becomes of us:
what reads a pipe would take our end for the message's.
Never: blocks the reactor: all work on files is done by `run_in_thread`.
Fails: OSError for the disk, `ContentError` and what the spool fails with for the content.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from mta.delivery.content import ContentReader
from mta.delivery.group_store import RunInThread
from mta.interfaces import IContent

# Where such files lie, below the state directory.
FOLDER = "tmp"


class WholeFile:
    """Takes pieces of a message, cut anywhere; `to_lf` turns its CRLF into LF. For threads."""

    def __init__(self, folder: Path, *, to_lf: bool) -> None:
        self._folder = folder
        self._to_lf = to_lf
        self._held = b""  # a CR at the end of a piece, which may be half of a line end

    def open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file = cast(BinaryIO, tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115

    def write(self, piece: bytes) -> None:
        if not self._to_lf:
            self.file.write(piece)
            return
        window = self._held + piece
        self._held = b"\r" if window.endswith(b"\r") else b""
        self.file.write((window[:-1] if self._held else window).replace(b"\r\n", b"\n"))

    def end(self) -> BinaryIO:
        """The file, at its begin."""
        self.file.write(self._held)
        self.file.flush()
        self.file.seek(0)
        return self.file


async def whole_file(
    content: IContent, head: bytes, folder: Path, run_in_thread: RunInThread, *, to_lf: bool
) -> BinaryIO:
    """`head` and the content behind it, in a file below `folder`; the caller closes it."""
    draft = WholeFile(folder, to_lf=to_lf)
    whole = content.whole()
    if whole is not None:
        data = head + whole

        def at_once() -> BinaryIO:
            draft.open()
            try:
                draft.write(data)
                return draft.end()
            except BaseException:
                draft.file.close()
                raise

        return await run_in_thread(at_once)
    await run_in_thread(draft.open)
    try:
        reader = ContentReader(content)
        piece = head
        while piece:
            await run_in_thread(partial(draft.write, piece))
            piece = await reader.next_chunk()
        return await run_in_thread(draft.end)
    except BaseException:
        # Cancelled, a thread may have it still: a write to a closed file is an error there, and no harm.
        draft.file.close()
        raise

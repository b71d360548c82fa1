"""
`mta queue export` and `mta queue import`: move mail to another queue.

Owns: the order of the steps of a move, and the file.
Never: touches the spool itself; `mta/archive.py` has the format.

Mail that is moved is held first and read when nobody is trying it any more; it goes from here only once the file is on
the disk, and in one operation. What is cut off in between leaves it held here: nothing is lost, nothing doubled.
"""

from __future__ import annotations

import os
import secrets
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import click

from mta.archive import ArchiveError, ArchiveWriter, Stored, read
from mta.cli.columns import printable
from mta.cli.configuration import Files, config_option, files
from mta.cli.daemon import Connection, NotRunning, Row, rows
from mta.cli.failure import CommandError
from mta.cli.filters import filtered, words
from mta.cli.listing import print_json
from mta.cli.surgery import told
from mta.durable import sync_folder

# Seconds between two looks at whether attempts are still under way, and for all of them.
_LOOK, _PATIENCE = 0.2, 660.0


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@filtered
@click.option("--all", "everything", is_flag=True, help="The whole queue.")
@click.option("--remove", is_flag=True, help="Move it: discard here what is in the file, once that is on the disk.")
@click.option("--dry-run", is_flag=True, help="Say how many it would be, and write nothing.")
@config_option
def export(
    config: str | None,
    as_json: bool,
    everything: bool,
    remove: bool,
    dry_run: bool,
    file: Path,
    ids: tuple[str, ...],
    **filters: Any,
) -> None:
    """Write mail of the queue into a FILE that `mta queue import` reads, here or on another host."""
    place, asked = files(config), words(ids, filters)
    if everything == bool(asked):
        raise CommandError("name messages or a filter, or say --all to export the whole queue", os.EX_USAGE)
    if dry_run:
        (count, *_sample) = rows(place, "queue.preview", {"change": "export", **asked})
        _say({"recipients": count["count"]}, f"{count['count']} recipients would be exported.", as_json=as_json)
        return
    if file.exists():
        raise CommandError(f"{file}: it is there already; choose another name", os.EX_CANTCREAT)
    if not remove:
        written = _write(place, asked, file)
        _say(written.row(), f"{written} in {file}; the queue is as it was.", as_json=as_json)
        return
    _move(place, asked, file, as_json=as_json)


class _Written:
    """What is in an archive."""

    def __init__(self) -> None:
        self.messages = self.recipients = 0
        self.left: list[str] = []

    def row(self) -> dict[str, object]:
        return {"messages": self.messages, "recipients": self.recipients, "left_out": self.left}

    def __str__(self) -> str:
        left = f" ({len(self.left)} could not be read: {', '.join(self.left[:10])})" if self.left else ""
        return f"{self.messages} messages with {self.recipients} recipients{left}"


def _move(place: Files, asked: dict[str, object], file: Path, *, as_json: bool) -> None:
    ordered = asked or {"all": True}
    _changed, result = told(place, "queue.export", ordered)
    held = result.get("operation")
    if held is None:
        raise CommandError("nothing matched that could be exported", os.EX_NOINPUT)
    try:
        _wait_until_idle(place, held)
        written = _write(place, {"operation": held}, file)
    except BaseException:
        # As it was before; where this fails too the mail is held, and `mta undo` does it.
        told(place, "undo", {"operation": held})
        raise
    changed, result = told(place, "queue.discard", {"operation": held})
    row = {**written.row(), "removed": len(changed), "operation": result.get("operation")}
    removed = f"{len(changed)} recipients are removed here (operation {result.get('operation')})"
    _say(row, f"{written} in {file}; {removed}.", as_json=as_json)
    if len(changed) != written.recipients:
        raise CommandError(
            f"{written.recipients} recipients are in {file} and {len(changed)} were removed: somebody changed the queue"
            f" meanwhile, or could not read all of it; `mta queue list --operation {held}` shows what has stayed",
            os.EX_DATAERR,
        )


def _wait_until_idle(place: Files, operation: object) -> None:
    """Wait until nobody tries the mail any more: whether such a recipient was delivered is not known before."""
    end = time.monotonic() + _PATIENCE
    while True:
        (row,) = rows(place, "queue.busy", {"operation": operation})
        if not row["count"]:
            return
        if time.monotonic() > end:
            raise CommandError(f"{row['count']} recipients are still being tried; nothing was moved", os.EX_TEMPFAIL)
        time.sleep(_LOOK)


def _write(place: Files, asked: dict[str, object], file: Path) -> _Written:
    """Write an archive, under its name only once it is whole and on the disk."""
    part = file.with_name(f"{file.name}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as out:
            written = _fill(ArchiveWriter(out), rows(place, "queue.archive", asked), place)
            out.flush()
            os.fsync(out.fileno())
        os.link(part, file)  # unlike a rename it takes no other file's place
    finally:
        part.unlink(missing_ok=True)
    sync_folder(file.absolute().parent)
    return written


def _fill(writer: ArchiveWriter, answer: Iterator[Row], place: Files) -> _Written:
    written, recipients = _Written(), 0
    writer.begin(secrets.token_hex(16), {"made": time.time(), "hostname": place.config.hostname})
    for row in answer:
        if "message" in row:
            message = cast("dict[str, Any]", row["message"])
            recipients = len(message["recipients"])
            writer.message(message, int(str(row["size"])))
        elif "content" in row:
            writer.content(b64decode(str(row["content"])))
        elif "whole" in row:
            writer.message_ended()
            written.messages += 1
            written.recipients += recipients
            recipients = 0
        else:
            if recipients:
                writer.message_dropped()
                recipients = 0
            written.left.append(str(row["gone"]))
    writer.end()
    return written


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Read the file to its end, say what is in it, and take nothing in.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@config_option
def import_(config: str | None, file: Path, dry_run: bool, as_json: bool) -> None:
    """
    Take in the mail of a FILE that `mta queue export` wrote.

    Its messages get new ids, and keep their age, attempts and what their senders said. A torn or changed file is
    refused as a whole; a message that was imported before is passed over, so that what was cut off may be given again.
    """
    place = files(config)
    with file.open("rb") as source:
        try:
            archive, stored = _whole(source)
        except ArchiveError as error:
            raise CommandError(f"{file}: {error}; nothing was imported", os.EX_DATAERR) from None
        if dry_run:
            number = sum(len(each.words.get("recipients", ())) for each in stored)
            words = {"messages": len(stored), "recipients": number}
            _say(words, f"{len(stored)} messages with {number} recipients are in {file}.", as_json=as_json)
            return
        taken, known = _take_in(place, archive, stored, source, as_json=as_json)
    if not as_json:
        passed = f"; {known} were imported before, and are passed over" if known else ""
        click.echo(f"{taken} messages imported{passed}.")
    if known and not taken:
        raise CommandError(f"{file}: all of it was imported before", os.EX_DATAERR)


def _whole(source: BinaryIO) -> tuple[str, list[Stored]]:
    """The id and the messages of an archive, all of which is read and compared first."""
    archive, stored = "", []
    for item in read(source):
        if isinstance(item, Stored):
            stored.append(item)
        else:
            archive = str(item["archive"])
    return archive, stored


def _take_in(place: Files, archive: str, stored: list[Stored], source: BinaryIO, *, as_json: bool) -> tuple[int, int]:
    """Hand each message to the daemon: how many it took, and how many it has had before."""
    taken = known = 0
    try:
        with Connection(place.control) as connection:
            for item in stored:
                source.seek(item.offset)
                asked = {"archive": archive, "message": item.words, "size": item.size}
                try:
                    list(connection.ask("queue.import", asked, _Part(source, item.size)))
                except CommandError as error:
                    if not connection.result.get("known"):
                        raise CommandError(
                            f"{error.message}; {taken} messages are imported, give the same command again for the rest",
                            error.code,
                        ) from None
                    known += 1
                    if not as_json:
                        click.echo(printable(error.message), err=True)
                    continue
                taken += 1
                old, new = str(item.words["id"]), str(connection.result["id"])
                if as_json:
                    print_json([{"of": old, "id": new}])
                else:
                    click.echo(printable(f"{old} is {new}"))
    except NotRunning:
        raise CommandError("the daemon is not running, and only it can import mail", os.EX_UNAVAILABLE) from None
    return taken, known


class _Part:
    """So many octets of a file, for `Connection.ask`."""

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source = source
        self._left = size

    def read(self, size: int) -> bytes:
        block = self._source.read(min(size, self._left))
        self._left -= len(block)
        return block


def _say(row: Mapping[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json([dict(row)])
    else:
        click.echo(printable(text))

"""
`mta send`: what programs call as `sendmail`.

Owns: sendmail's options, as far as programs use them, and its exit codes.
Never: stores a message itself. Where the daemon does not run, the caller keeps it and is told so (75, EX_TEMPFAIL).
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from typing import BinaryIO, cast

import click

from mta.cli.configuration import config_option, files
from mta.cli.daemon import Connection, NotRunning
from mta.cli.draft import copy_lines, recipients_in, take_header, without_blind
from mta.cli.failure import CommandError

# Octets of a message that stay in memory; a larger one waits in a file.
_IN_MEMORY = 1 << 20


@click.command(context_settings={"help_option_names": ["--help"]})
@click.option("-t", "from_header", is_flag=True, help="Take recipients from To, Cc and Bcc, too; remove Bcc.")
@click.option("-i", "dots", is_flag=True, help="A line with a dot alone does not end the message.")
@click.option("-f", "-r", "sender", metavar="ADDRESS", help='Envelope sender; "" or "<>" is the null sender.')
@click.option("-F", "full_name", metavar="NAME", default="", help="Full name, for a From field that has to be added.")
@click.option("-o", "options", metavar="OPTION", multiple=True, help="i: as -i. Others have no effect here.")
@click.option("-b", "mode", metavar="MODE", default="m", help="m: send, the default. No other mode is known.")
@click.option("-B", "-h", "-L", "-N", "-O", "-R", "-V", "-X", "ignored", multiple=True, hidden=True)
@click.option("-G", "-U", "-n", "-v", "ignored_flag", is_flag=True, hidden=True)
@config_option
@click.argument("recipients", metavar="[RECIPIENT]...", nargs=-1)
def send(
    config: str | None,
    from_header: bool,
    dots: bool,
    sender: str | None,
    full_name: str,
    options: tuple[str, ...],
    mode: str,
    recipients: tuple[str, ...],
    **_: object,
) -> None:
    """Send the message on standard input, as sendmail does."""
    if mode != "m":
        raise click.UsageError(f"-b{mode} is not supported; -bm is, and `mailq` lists the queue")
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spooled:
        draft = cast("BinaryIO", spooled)
        size = copy_lines(sys.stdin.buffer, draft, dot_ends=not dots and "i" not in options)
        content, wanted = _addressed(draft, size, list(recipients), from_header)
        words: dict[str, object] = {"recipients": wanted, "size": content.size, "full_name": full_name}
        if sender is not None:
            words["sender"] = sender.removeprefix("<").removesuffix(">")
        try:
            with Connection(files(config).control) as connection:
                list(connection.ask("send", words, cast("BinaryIO", content)))
        except NotRunning:
            raise CommandError("the daemon is not running; nothing was sent", os.EX_TEMPFAIL) from None


class _Content:
    """A header and the rest of a file behind it, as one stream. `size` in octets."""

    def __init__(self, header: bytes, body: BinaryIO, body_size: int) -> None:
        self._header = io.BytesIO(header)
        self._body = body
        self.size = len(header) + body_size

    def read(self, size: int) -> bytes:
        return self._header.read(size) or self._body.read(size)


def _addressed(draft: BinaryIO, size: int, recipients: list[str], from_header: bool) -> tuple[_Content, list[str]]:
    """The content to send, and to whom: with `from_header` those in the header too, as Postfix adds them."""
    header = b""
    if from_header:
        try:
            header = take_header(draft)
            recipients = recipients + recipients_in(header)
        except ValueError as error:
            raise CommandError(str(error), os.EX_DATAERR) from None
    else:
        draft.seek(0)
    if not recipients:
        raise click.UsageError("no recipient; name one, or give -t for those in the header")
    return _Content(without_blind(header), draft, size - len(header)), recipients

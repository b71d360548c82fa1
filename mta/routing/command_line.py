"""
The argument vector of a program that takes mail.

Owns: its placeholders, and what of an envelope stands for each.
Never: runs a program; knows a shell: an argument is one argument, whatever an address holds.
Fails: ValueError for a template, with what is wrong; `OptionError` for an address that would be taken for an option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from mta.address import Address

# Placeholders of one recipient, and those of the message.
_OF_RECIPIENT = ("recipient", "original_recipient", "user", "extension", "domain")
_OF_MESSAGE = ("sender", "queue_id", "size")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
EACH = "{recipient}"  # alone it is repeated, where a program is run for several recipients
# The character behind which a local part has an extension (RFC 5233 1).
_DELIMITER = "+"


class OptionError(ValueError):
    """An address that begins as an option does; the text names it."""


def check_command(command: Sequence[str], for_all: bool) -> None:
    """Raises ValueError where `command`, run for each recipient or once `for_all`, can't be an argument vector."""
    if not command:
        raise ValueError("must not be empty")
    if not PurePosixPath(command[0]).is_absolute() or _PLACEHOLDER.search(command[0]):
        raise ValueError(f'"{command[0]}" must be the absolute path of a program')
    for argument in command:
        if "\0" in argument:
            raise ValueError("must not have a NUL in it")
        for name in _PLACEHOLDER.findall(argument):
            if name not in _OF_RECIPIENT + _OF_MESSAGE:
                known = ", ".join(f"{{{item}}}" for item in _OF_MESSAGE + _OF_RECIPIENT)
                raise ValueError(f'"{argument}": there is no {{{name}}}; {known} are known')
            if for_all and name in _OF_RECIPIENT and argument != EACH:
                raise ValueError(f'"{argument}": only "{EACH}", alone, can stand for all recipients of a message')


def local_parts(recipient: Address) -> tuple[str, str]:
    """User and extension: "alice+lists" is alice, lists."""
    user, _, extension = recipient.local.partition(_DELIMITER)
    return (user, extension) if user else (recipient.local, "")


def words_of(recipient: Address, original: str, sender: Address | None, queue_id: str, size: int) -> dict[str, str]:
    """What the placeholders stand for. `original` is what RCPT named; the null sender is an empty word."""
    user, extension = local_parts(recipient)
    return {
        "sender": "" if sender is None else str(sender),
        "recipient": str(recipient),
        "original_recipient": original or str(recipient),
        "user": user,
        "extension": extension,
        "domain": recipient.domain,
        "queue_id": queue_id,
        "size": str(size),
    }


def filled(command: Sequence[str], words: Mapping[str, str], recipients: Sequence[str]) -> list[str]:
    """The arguments for `recipients`. Raises `OptionError`: no sender chooses the options of a program."""
    arguments: list[str] = []
    for template in command:
        if template == EACH:
            arguments += recipients
            made = recipients
        else:
            made = [_PLACEHOLDER.sub(lambda found: words[found[1]], template)]
            arguments += made
        if template.startswith("{"):
            for argument in made:
                if argument.startswith("-"):
                    raise OptionError(f"{argument!r} begins with a hyphen, and a program would take it for an option")
    return arguments

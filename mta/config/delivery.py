"""
Options of the ways out that are no mail server.

Owns: the table [delivery] and those in it.
Never: compares one option with another (`mta/config/agents.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from mta.config.fields import (
    FrozenTable,
    Hop,
    Name,
    OptionalCount,
    OptionalFile,
    PositiveDuration,
    RecipientPattern,
    Size,
)
from mta.config.option import REQUIRED, Table, option
from mta.routing.next_hops import check_template
from mta.webhook import key_of


def _absolute(text: str) -> str:
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f'"{text}" must be an absolute path')
    return text


def _variables(table: dict[str, str]) -> FrozenTable[str]:
    for name, value in table.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f'"{name}" is no variable of an environment')
    return FrozenTable(table)


def _secret(text: str) -> str:
    key_of(text)
    return text


Secret = Annotated[str, AfterValidator(_secret)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Variables = Annotated[dict[str, str], AfterValidator(_variables)]


class Pipe(Table):
    """A program that takes mail on its standard input: the next hop "pipe:NAME" (docs/delivery.md)."""

    name: Name = option(REQUIRED, 'What next hops call it: "pipe:NAME".', unit="name", sample="filter")
    command: tuple[str, ...] = option(
        REQUIRED,
        "The program and its arguments, each for itself: there is no shell. {sender}, {recipient},"
        " {original_recipient}, {user}, {extension}, {domain}, {queue_id} and {size} are filled in.",
        unit="list of text",
        sample=("/usr/local/bin/filter", "-f", "{sender}", "--", "{recipient}"),
    )
    user: str = option(
        "",
        "As whom it runs. The daemon must be started as root for another user than its own; nothing runs as root.",
        unit="user",
        source="the daemon's own user",
    )
    recipients: Literal["one", "all"] = option(
        "one",
        'Whether it runs for each recipient, or once for all of a delivery: then "{recipient}" in an argument of its'
        " own becomes as many arguments, and its end is the outcome of all of them.",
        unit='"one", "all"',
        source="one outcome for each recipient",
    )
    line_ends: Literal["lf", "crlf"] = option(
        "lf", "How lines of the message end.", unit='"lf", "crlf"', source="what programs on this system expect"
    )
    directory: AbsolutePath = option("/", "The directory it runs in.", unit="path", source="one that is always there")
    environment: Variables = option(
        {}, "Variables of its environment, besides those of docs/delivery.md.", unit="table of text", source="none"
    )
    time_limit: PositiveDuration = option(
        "1000s",
        "How long it may take; then its whole process group is killed, and the message tried again.",
        unit="duration",
        source="Postfix command_time_limit",
    )
    output_limit: Size = option(
        "4KiB",
        "How much of its output is kept; the first lines stand in the log and in reports.",
        unit="size",
        source="a few lines for people",
    )


class WebHook(Table):
    """How a web server is spoken to that takes mail: the next hop with the same URL (docs/delivery.md)."""

    url: Hop = option(REQUIRED, "The URL, as next hops have it.", unit="URL", sample="https://hooks.example.org/mail")
    form: Literal["raw", "json"] = option(
        "raw",
        'What is sent: "raw", the message, or "json", its parts.',
        unit='"raw", "json"',
        source="nothing is lost",
    )
    secrets: tuple[Secret, ...] = option(
        (),
        'What requests are signed with (Standard Webhooks), "whsec_..." each: "${NAME}", with NAME, or NAME_FILE as the'
        " path of a file, in the environment. Two while one takes the place of the other.",
        unit="list of text",
        source="none",
    )
    timeout: PositiveDuration = option("60s", "How long a request may take.", unit="duration", source="a slow server")
    message_size: Size = option(
        "25MiB",
        "The largest message that is sent; a larger one fails. Each is held in memory while it is sent.",
        unit="size",
        source="limits.message_size",
    )
    clear_text: bool = option(
        False,
        "Whether mail may go to http:// on another machine: everybody on the way can read it.",
        unit="true, false",
        source="nobody should",
    )


def _capture_path(text: str) -> str:
    return check_template(text, "a mailbox") if text else ""


class Capture(Table):
    """For staging: all mail goes to one mailbox, but that for whom `allow` lists (docs/delivery.md)."""

    maildir: Annotated[str, AfterValidator(_capture_path)] = option(
        "",
        "The Maildir that gets all mail, below state_dir; {user} and {domain} may stand in it. Empty for no capture.",
        unit="path",
        source="mail is for its recipients",
    )
    allow: tuple[RecipientPattern, ...] = option(
        (), "Who gets mail all the same, as recipients of a route.", unit="list of patterns", source="nobody"
    )


class Maildirs(Table):
    """What holds for all Maildirs, those of local users and of routes (docs/delivery.md)."""

    quota: Size = option(
        0,
        "How much a Maildir with its folders may hold, but for the trash (Maildir++); 0 for any amount.",
        unit="size",
        source="as much as the disk",
    )
    quota_messages: OptionalCount = option(
        0, "How many messages it may hold; 0 for any number.", unit="count", source="as many as the disk"
    )
    over_quota: Literal["defer", "fail"] = option(
        "defer",
        'What becomes of a message without room: "defer" tries it until queue.lifetime is over (4.2.2), "fail" has it'
        " go back at once (5.2.2).",
        unit='"defer", "fail"',
        source="people tidy up",
    )
    folders: bool = option(
        False,
        'Whether mail for "user+name" goes to the folder "name" of the user, where there is one.',
        unit="true, false",
        source="senders choose the extension",
    )


class Delivery(Table):
    """Ways out that are no mail server."""

    ca_file: OptionalFile = option(
        "",
        "A PEM file with the authorities that https:// next hops are verified by; empty for those of the system."
        " Relative to the directory that the daemon is started in.",
        unit="path",
        source="the system's administrator keeps them current",
    )

    capture: Capture = option({})
    maildir: Maildirs = option({})
    pipes: tuple[Pipe, ...] = option((), alias="pipe")
    hooks: tuple[WebHook, ...] = option((), alias="http")

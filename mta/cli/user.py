"""
`mta user`: who logs in to send mail.

Owns: the commands, and asking for a password: at a prompt, or as the first line of standard input, never as an
argument, which every user of the machine could read.
Never: works without auth.users: what Dovecot or a function knows is changed there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from mta.auth import userfile
from mta.auth.userfile import User
from mta.cli.configuration import config_option, loaded
from mta.cli.failure import CommandError
from mta.config.authentication import sender_pattern

_EX_NOUSER, _EX_DATAERR, _EX_CANTCREAT = 67, 65, 73

sender_option = click.option(
    "--sender", "senders", multiple=True, metavar="ADDRESS", help="Send as this, too: a@b.org, @b.org, or *."
)


@click.group()
def user() -> None:
    """Add and change the users who log in to send mail; the daemon sees it at the next login."""


@contextmanager
def _changing(config: str | None) -> Iterator[dict[str, User]]:
    path: Path = loaded(config).users_path
    try:
        with userfile.changing(path) as users:
            yield users
    except userfile.UserFileError as error:
        raise CommandError(str(error), _EX_DATAERR) from None
    except OSError as error:
        raise CommandError(f"{path}: cannot write the users: {error.strerror or error}", _EX_CANTCREAT) from None


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _made(name: str, senders: tuple[str, ...]) -> User:
    try:
        userfile.name_of(name)
        patterns = tuple(map(sender_pattern, senders))
        return userfile.user_of(name, _password(), patterns)
    except ValueError as error:
        raise CommandError(f"{name}: {error}", _EX_DATAERR) from None


def _found(users: dict[str, User], name: str) -> User:
    try:
        return users[userfile.name_of(name)]
    except (KeyError, ValueError):
        raise CommandError(f"{name}: no such user", _EX_NOUSER) from None


@user.command()
@config_option
@sender_option
@click.argument("name")
def add(config: str | None, senders: tuple[str, ...], name: str) -> None:
    """Add a user; the password is asked for, or read from standard input."""
    made = _made(name, senders)
    with _changing(config) as users:
        if made.name in users:
            raise CommandError(f"{made.name} is there already; `mta user passwd` changes the password", _EX_DATAERR)
        users[made.name] = made


@user.command()
@config_option
@click.argument("name")
def passwd(config: str | None, name: str) -> None:
    """Change a user's password."""
    made = _made(name, ())
    with _changing(config) as users:
        users[made.name] = replace(_found(users, name), password=made.password, scram=made.scram)


def _set_state(config: str | None, names: tuple[str, ...], enabled: bool) -> None:
    with _changing(config) as users:
        for name in names:
            there = _found(users, name)
            users[there.name] = replace(there, enabled=enabled)


@user.command()
@config_option
@click.argument("names", nargs=-1, required=True)
def disable(config: str | None, names: tuple[str, ...]) -> None:
    """Let users log in no more; their passwords are kept."""
    _set_state(config, names, enabled=False)


@user.command()
@config_option
@click.argument("names", nargs=-1, required=True)
def enable(config: str | None, names: tuple[str, ...]) -> None:
    """Let disabled users log in again."""
    _set_state(config, names, enabled=True)


@user.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(config: str | None, as_json: bool) -> None:
    """List the users."""
    try:
        users = userfile.read(loaded(config).users_path)
    except userfile.UserFileError as error:
        raise CommandError(str(error), _EX_DATAERR) from None
    width = max(map(len, users), default=0)
    for each in users.values():
        state = "enabled" if each.enabled else "disabled"
        if as_json:
            click.echo(json.dumps({"user": each.name, "state": state, "senders": each.senders}))
        else:
            click.echo(f"{each.name:{width}}  {state:8}  {', '.join(each.senders)}".rstrip())

"""
The file of users: one a line, with what is kept of the password and the addresses that the user sends as.

Owns: its form, reading and writing it: at once and whole, or not at all.
Never: keeps a password; imports Twisted: `mta user` works on it too.
Fails: `UserFileError`, which names the line.

    # name  state  argon2 hash  keys of SCRAM  addresses
    alice enabled $argon2id$v=19$m=19456,t=2,p=1$... SCRAM-SHA-256$4096:...$...:... alice@example.org,@example.net

A dash stands for what is not there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mta.auth.passwords import ScramKeys, hashed, read_scram_keys, scram_keys
from mta.durable import sync_folder
from mta.policy.directory import folded
from mta.saslprep import prepared

_HEAD = "# Users of AUTH, written by `mta user`: name, state, argon2 hash, keys of SCRAM-SHA-256, addresses.\n"
_STATES = {"enabled": True, "disabled": False}
_MODE = 0o600


class UserFileError(Exception):
    """A file that can't be used, or a name that has no place in one."""


@dataclass(frozen=True, slots=True)
class User:
    """One line. `senders` as in `mta.identity.Identity`."""

    name: str
    password: str
    scram: ScramKeys | None = None
    senders: tuple[str, ...] = ()
    enabled: bool = True

    def __str__(self) -> str:
        state = "enabled" if self.enabled else "disabled"
        return f"{self.name} {state} {self.password} {self.scram or '-'} {','.join(self.senders) or '-'}\n"


def name_of(text: str) -> str:
    """A user's name as it is compared: prepared, without case. Raises ValueError."""
    name = folded(prepared(text))
    if not name or len(name.encode()) > 255 or any(each.isspace() or not each.isprintable() for each in name):
        raise ValueError("a user's name has 1 to 255 octets and no space in it")
    if name.startswith("#"):
        raise ValueError('a user\'s name does not begin with "#"')
    return name


def user_of(name: str, password: str, senders: Iterable[str] = ()) -> User:
    """A user with this password. Raises ValueError; it takes as long as a hash does."""
    if not password:
        raise ValueError("the password is empty")
    return User(name_of(name), hashed(password), scram_keys(password), tuple(senders))


def read(path: Path) -> dict[str, User]:
    """The users by name; none where there is no file. Raises `UserFileError`."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UserFileError(f"{path}: cannot read the users: {error}") from None
    users: dict[str, User] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            user = _user(line)
        except ValueError:
            raise UserFileError(f"{path}:{number}: is no line of a user") from None
        if user.name in users:
            raise UserFileError(f"{path}:{number}: {user.name} is there twice")
        users[user.name] = user
    return users


def _user(line: str) -> User:
    name, state, password, scram, senders = line.split()
    if state not in _STATES or name != name_of(name):
        raise ValueError(line)
    return User(
        name,
        password,
        None if scram == "-" else read_scram_keys(scram),
        () if senders == "-" else tuple(senders.split(",")),
        _STATES[state],
    )


def write(path: Path, users: Iterable[User]) -> None:
    """
    Put all users in the place of the file's; whoever reads finds the old ones or the new, and so does a power cut.

    The owner and the mode of a file that is there are kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_HEAD + "".join(map(str, users)))
        file.flush()
        if path.exists():
            there = path.stat()
            os.fchmod(file.fileno(), there.st_mode & 0o7777)
            if (there.st_uid, there.st_gid) != (os.getuid(), os.getgid()):
                os.fchown(file.fileno(), there.st_uid, there.st_gid)
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


@contextmanager
def changing(path: Path) -> Iterator[dict[str, User]]:
    """The users, to be changed; they are written where nothing was raised. One who changes waits for another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        users = read(path)
        yield users
        write(path, users.values())

"""
Keep refresh tokens that have changed: one file for each in a folder that all workers share.

Owns: the form of the files, that each is whole or not there, and whose turn it is to ask for a token.
Never: asks for one.
Fails: writing raises OSError; a file that can't be read is none, and `complain` is told.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from mta.durable import sync_folder

FOLDER = "tokens"
_MAX_FILE = 64 * 1024


class TokenStore:
    """Refresh tokens in `folder`. All of it blocks on the disk."""

    def __init__(self, folder: Path, complain: Callable[[str], None]) -> None:
        self._folder = folder
        self._complain = complain

    def current(self, name: str, configured: str) -> str:
        """
        The refresh token that is valid now: the one that came for `configured`, or for one that did.

        Where an operator has put another one into the configuration, what is stored is of no use any more.
        """
        path = self._path(name)
        try:
            with path.open("rb") as file:
                fields = json.loads(file.read(_MAX_FILE))
            origin, found = fields["origin"], fields["refresh_token"]
            if not isinstance(origin, str) or not isinstance(found, str) or not found:
                raise ValueError("what it has is no text")
        except FileNotFoundError:
            return configured
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            # Its text may be the secret.
            self._complain(f"{path}: cannot be used: {getattr(error, 'strerror', None) or type(error).__name__}")
            return configured
        return found if origin == _digest(configured) else configured

    def write(self, name: str, configured: str, refresh_token: str) -> None:
        """Store it in the place of the one before: when this returns, no power cut takes it any more."""
        self._make_folder()
        # A name of its own for each write; what a crash leaves of it is as secret as the rest.
        draft = self._folder / f".{secrets.token_hex(8)}"
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
                json.dump({"origin": _digest(configured), "refresh_token": refresh_token}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path(name))
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(self._folder)

    def turn(self, name: str) -> int | None:
        """
        A descriptor to be closed at the end of one's turn, None while another process has it. Raises OSError.

        A server that gives a new refresh token with each access token may take the use of an old one for theft, and
        take all of them back (RFC 6819 5.2.2.3): two workers must not send the same one.
        """
        self._make_folder()
        descriptor = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

"""
Passwords as they are kept: argon2id for a password that is told, keys of SCRAM-SHA-256 for one that never is.

Owns: hashing, verifying, the keys of RFC 5802 3 as a server keeps them.
Never: knows a user or a file; waits: a hash takes some 30 ms, so its caller uses a thread.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from mta.saslprep import prepared
from mta.scram_secrets import secrets_of

# OWASP's password storage cheat sheet, first choice: 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# RFC 7677 4: at least 4096. The client does the work at each login, the server once for each password.
ITERATIONS = 4096
_SCHEME = "SCRAM-SHA-256"
_SALT = 16


def hashed(password: str) -> str:
    """What is kept of a password: argon2id in PHC form. Raises ValueError as `prepared`."""
    return _HASHER.hash(prepared(password))


def matches(kept: str, password: str) -> bool:
    """Whether it is the password that was hashed."""
    try:
        return _HASHER.verify(kept, prepared(password))
    except (Argon2Error, InvalidHashError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps for SCRAM (RFC 5802 3): none of it lets anybody log in."""

    salt: bytes
    iterations: int
    stored: bytes
    server: bytes

    def __str__(self) -> str:
        """As PostgreSQL writes it: ``SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey``."""
        salt, stored, server = (b64encode(each).decode("ascii") for each in (self.salt, self.stored, self.server))
        return f"{_SCHEME}${self.iterations}:{salt}${stored}:{server}"


def scram_keys(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> ScramKeys:
    """The keys of a password, with a fresh salt where none is given. Raises ValueError as `prepared`."""
    salt = os.urandom(_SALT) if salt is None else salt
    secrets = secrets_of(password, salt, iterations)
    return ScramKeys(salt, iterations, hashlib.sha256(secrets.client).digest(), secrets.server)


def read_scram_keys(text: str) -> ScramKeys:
    """What `str` made of keys. Raises ValueError."""
    scheme, numbers, keys = text.split("$")
    iterations, _, salt = numbers.partition(":")
    stored, _, server = keys.partition(":")
    octets = [b64decode(each, validate=True) for each in (salt, stored, server)]
    found = ScramKeys(octets[0], int(iterations), octets[1], octets[2])
    if scheme != _SCHEME or len(found.stored) != 32 or len(found.server) != 32 or found.iterations < 1:
        raise ValueError("no keys of SCRAM-SHA-256")
    return found

"""
What both ends of SCRAM-SHA-256 work out of a password (RFC 5802 3, RFC 7677).

Owns: the keys, the proof of the client and the signature of the server, and how a name is written in a message.
Never: reads or writes a message (`mta/auth/scram.py`, `mta/smtp/client_scram.py`), or keeps anything.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from mta.saslprep import prepared


@dataclass(frozen=True, slots=True)
class ScramSecrets:
    """ClientKey and ServerKey: who has the first can log in, who has the second can pretend to be the server."""

    client: bytes = field(repr=False)
    server: bytes = field(repr=False)

    def proof(self, message: bytes) -> bytes:
        """ClientProof over an AuthMessage."""
        signature = hmac.digest(hashlib.sha256(self.client).digest(), message, "sha256")
        return bytes(key ^ mask for key, mask in zip(self.client, signature, strict=True))

    def signature(self, message: bytes) -> bytes:
        """ServerSignature over an AuthMessage."""
        return hmac.digest(self.server, message, "sha256")


def secrets_of(password: str, salt: bytes, iterations: int) -> ScramSecrets:
    """The secrets of a password; some milliseconds for each 4096 iterations. Raises ValueError as `prepared`."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password).encode(), salt, iterations)
    return ScramSecrets(
        hmac.digest(salted, b"Client Key", "sha256"),
        hmac.digest(salted, b"Server Key", "sha256"),
    )


def quoted(name: str) -> str:
    """A name as it stands in a message (RFC 5802 5.1, saslname)."""
    return name.replace("=", "=3D").replace(",", "=2C")


def unquoted(name: str) -> str:
    """The name that a saslname writes."""
    return name.replace("=2C", ",").replace("=3D", "=")

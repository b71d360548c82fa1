"""
What is handed to a portal (twisted.cred): a password that was told, a proof that its owner knows it, or a token.

Owns: these credentials and what a checker of SCRAM offers beside.
Never: looks anything up.
"""

# mypy: disable-error-code="empty-body, misc"

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.cred.credentials import ICredentials, IUsernamePassword
from zope.interface import Interface, implementer

from mta.auth.passwords import ScramKeys

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


class NotNow(Exception):  # noqa: N818
    """Whoever knows can't be asked now; the text is a sentence for the log, and shows no credentials."""


@implementer(IUsernamePassword)
@dataclass(frozen=True, slots=True)
class Password:
    """A password as the client told it; `client` is its address, for those who are asked elsewhere."""

    username: str
    password: str
    client: str = ""

    def checkPassword(self, password: bytes) -> bool:
        return hmac.compare_digest(self.password.encode(), password)


class IScramProof(ICredentials):
    """A user and what proves that the client knows the password."""

    def proves(keys: ScramKeys) -> bool:  # noqa: N805
        """Whether it does."""


@implementer(IScramProof)
@dataclass(slots=True)
class ScramProof:
    """The proof over the messages of one conversation (RFC 5802 3); `signature` is ours, once it was right."""

    username: str
    proof: bytes
    message: bytes
    signature: bytes = b""

    def proves(self, keys: ScramKeys) -> bool:
        signature = hmac.digest(keys.stored, self.message, "sha256")
        client = bytes(a ^ b for a, b in zip(self.proof, signature, strict=False))
        if len(self.proof) != len(signature) or not hmac.compare_digest(hashlib.sha256(client).digest(), keys.stored):
            return False
        self.signature = hmac.digest(keys.server, self.message, "sha256")
        return True


class IBearerToken(ICredentials):
    """A token of OAuth 2.0, and who its bearer says it is."""


@implementer(IBearerToken)
@dataclass(frozen=True, slots=True)
class BearerToken:
    """`username` is the authorization identity, "" for whomever the token names. The token stands in no repr."""

    username: str
    token: str = field(repr=False)


class IScramKeys(Interface):
    """A checker that knows keys of SCRAM."""

    def scram_keys(username: str) -> Deferred[ScramKeys]:  # noqa: N805
        """The keys of a user; for one who is none, some that no password belongs to, and always the same."""

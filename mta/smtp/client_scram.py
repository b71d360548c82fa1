"""
SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as a client (RFC 5802, RFC 7677).

Owns: the messages of the client's side; what is demanded of the server: a nonce that goes on from ours, enough
iterations and not too many, and at the end the proof that it knows the password as well.
Never: tells the password.
Fails: `ExchangeError`, for whatever else a server says.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from functools import lru_cache

from mta.login import SCRAM, SCRAM_PLUS, Login
from mta.saslprep import prepared
from mta.scram_secrets import ScramSecrets, quoted, secrets_of
from mta.smtp.exchange import ExchangeError

# RFC 7677 4: a server should have at least these. Whoever asks for one iteration may want to guess passwords.
MIN_ITERATIONS = 4096
# They hold up all other mail: these 100 ms or so. Servers have 4,096 to 100,000.
MAX_ITERATIONS = 200_000
# RFC 5802 7; a mandatory extension ("m=") is none that we know.
_FIRST = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})(?:,.*)?", re.DOTALL)
_FINAL = re.compile(r"v=([A-Za-z0-9+/=]+)(?:,.*)?", re.DOTALL)
_ERROR = re.compile(r"e=([A-Za-z0-9.-]{1,60})(?:,.*)?", re.DOTALL)

# RFC 5802 5.1 lets a client keep what it has worked out: servers give a user the same salt each time.
_secrets_of = lru_cache(maxsize=64)(secrets_of)


class ClientScram:
    """
    One exchange. `plus`: it is -PLUS, bound to its connection by `binding`.

    Without `plus`, a `binding` means that we could have, and were not offered it. `is_complete` once the server has
    proved that it knows the password.
    """

    def __init__(self, login: Login, nonce: str, *, binding: bytes | None = None, plus: bool = False) -> None:
        self.mechanism = SCRAM_PLUS if plus else SCRAM
        self.is_complete = False
        self.told = ""
        self._login = login
        self._nonce = nonce
        self._header = b"p=tls-exporter,," if plus else b"n,," if binding is None else b"y,,"
        self._bound = self._header + (binding or b"" if plus else b"")
        self._bare = ""
        self._signature = b""
        self._next = self._proved

    def initial(self) -> bytes:
        # A name that SASLprep has no room for goes as it is: the server will say that it knows nobody of that name.
        self._bare = f"n={quoted(_prepared(self._login.user))},r={self._nonce}"
        return self._header + self._bare.encode()

    def respond(self, challenge: str) -> bytes:
        try:
            text = b64decode(challenge, validate=True).decode()
        except ValueError:
            raise ExchangeError("a challenge that is no base64") from None
        if found := _ERROR.fullmatch(text):
            raise ExchangeError(f"it said: {found[1]}")  # RFC 5802 7, server-error-value
        return self._next(text)

    def _proved(self, text: str) -> bytes:
        """The proof for the server's first message."""
        found = _FIRST.fullmatch(text)
        if not found:
            raise ExchangeError("no first message of SCRAM")
        nonce, salt, iterations = found[1], found[2], int(found[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ExchangeError("its nonce does not go on from ours")  # RFC 5802 5.1
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise ExchangeError(f"it wants {iterations} iterations, not {MIN_ITERATIONS} to {MAX_ITERATIONS}")
        secrets = self._secrets(salt, iterations)
        unproved = f"c={b64encode(self._bound).decode('ascii')},r={nonce}"
        message = f"{self._bare},{text},{unproved}".encode()
        self._signature = secrets.signature(message)
        self._next = self._verified
        return f"{unproved},p={b64encode(secrets.proof(message)).decode('ascii')}".encode()

    def _secrets(self, salt: str, iterations: int) -> ScramSecrets:
        try:
            octets = b64decode(salt, validate=True)
        except ValueError:
            raise ExchangeError("a salt that is no base64") from None
        try:
            return _secrets_of(self._login.password, octets, iterations)
        except ValueError as error:
            raise ExchangeError(f"our password is not for SCRAM: {error}") from None

    def _verified(self, text: str) -> bytes:
        """RFC 4954 4: the server's last message is a challenge as well, and nothing is left to say."""
        found = _FINAL.fullmatch(text)
        try:
            signature = b64decode(found[1], validate=True) if found else b""
        except ValueError:
            signature = b""
        if not hmac.compare_digest(signature, self._signature):
            raise ExchangeError("it can't prove that it knows the password: it is not the server that we mean")
        self.is_complete = True
        self._next = self._ended
        return b""

    def _ended(self, text: str) -> bytes:
        raise ExchangeError(f"a challenge when all is said: {text[:60]!a}")


def _prepared(name: str) -> str:
    try:
        return prepared(name)
    except ValueError:
        return name

"""
SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): the client proves that it knows its password.

Owns: the messages of the server's side, and the channel binding tls-exporter (RFC 9266).
Never: knows a user: it is given keys for any name, and asks the portal at the end.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable

from twisted.internet.defer import Deferred

from mta.auth.credentials import ScramProof
from mta.auth.passwords import ScramKeys
from mta.identity import Challenge, Granted, Malformed, Refused, Step
from mta.scram_secrets import unquoted

Keys = Callable[[str], "Deferred[ScramKeys]"]
Ask = Callable[[ScramProof], "Deferred[Step]"]

# RFC 5802 7: gs2-header client-first-message-bare. Mandatory extensions ("m=") are none that we know.
_FIRST = re.compile(r"((?:p=([A-Za-z0-9.-]+)|([ny])),(?:a=([^,\0]*))?,)(n=([^,\0]+),r=([!-+\--~]+)(?:,.*)?)", re.DOTALL)
_FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([!-+\--~]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)", re.DOTALL)
_BINDING = "tls-exporter"


class Scram:
    """
    One conversation. `plus`: it is -PLUS, and `binding` what both ends of the TLS connection know.

    `offered`: -PLUS was told to the client; who says then that we have it not has been lied to (RFC 5802 6).
    """

    def __init__(
        self,
        keys: Keys,
        login: Ask,
        nonce: str,
        *,
        plus: bool = False,
        binding: bytes | None = None,
        offered: bool = False,
    ) -> None:
        self._keys = keys
        self._login = login
        self._nonce = nonce
        self._plus = plus
        self._binding = binding
        self._offered = offered
        self._next = self._first
        self._user = self._header = self._bare = self._server_first = ""
        self._known: ScramKeys | None = None
        self._granted: Granted | None = None

    def start(self) -> Step:
        return Challenge()

    def respond(self, data: bytes) -> Step | Deferred[Step]:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return Malformed("SCRAM is UTF-8")
        return self._next(text)

    def _first(self, text: str) -> Step | Deferred[Step]:
        found = _FIRST.fullmatch(text)
        if not found:
            return Malformed("no client-first-message")
        self._header, binding, flag, acts_as, self._bare, name, nonce = found.groups()
        if re.search("=(?!2C|3D)", name + (acts_as or "")):
            return Malformed('"=" in a name begins =2C or =3D')
        self._user = unquoted(name)
        if self._plus != (binding is not None):
            return Malformed("the channel binding and the mechanism do not fit")
        if binding is not None and (binding != _BINDING or self._binding is None):
            return Refused(f"channel binding {binding} is not to be had", self._user)
        if flag == "y" and self._offered:
            return Refused("the client was not told of -PLUS: somebody has changed our offers", self._user)
        if acts_as and unquoted(acts_as) != self._user:
            return Refused("nobody may act as another", self._user)
        self._nonce = nonce + self._nonce
        return self._keys(self._user).addCallback(self._challenged)

    def _challenged(self, keys: ScramKeys) -> Step:
        salt = b64encode(keys.salt).decode("ascii")
        self._server_first = f"r={self._nonce},s={salt},i={keys.iterations}"
        self._next = self._final
        return Challenge(self._server_first.encode())

    def _final(self, text: str) -> Step | Deferred[Step]:
        found = _FINAL.fullmatch(text)
        if not found:
            return Malformed("no client-final-message")
        unproved, bound, nonce, proof = found.groups()
        try:
            channel, octets = b64decode(bound, validate=True), b64decode(proof, validate=True)
        except Base64Error:
            return Malformed("no base64 in the client-final-message")
        if nonce != self._nonce:
            return Refused("the nonce is another one", self._user)
        if channel != self._header.encode() + ((self._binding or b"") if self._plus else b""):
            return Refused("the channel binding is that of another connection", self._user)
        message = f"{self._bare},{self._server_first},{unproved}".encode()
        credentials = ScramProof(self._user, octets, message)
        return self._login(credentials).addCallback(self._judged, credentials)

    def _judged(self, step: Step, credentials: ScramProof) -> Step:
        if not isinstance(step, Granted):
            return step
        self._granted = step
        self._next = self._acknowledged
        return Challenge(b"v=" + b64encode(credentials.signature))

    def _acknowledged(self, text: str) -> Step | Deferred[Step]:
        """RFC 4954 4: what the server says last is a challenge, too, and the response to it is empty."""
        assert self._granted is not None
        return Malformed("the last response of SCRAM is empty") if text else self._granted

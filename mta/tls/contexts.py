"""
OpenSSL's contexts of a server.

Owns: versions, ciphers and options; which pairs answer to which name (SNI, RFC 6066 3); asking for client certificates.
Never: reads a file; judges a client's certificate (`mta/tls/server.py`).
Fails: `PairError` where OpenSSL does not take what it is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from OpenSSL import SSL

from mta.tls.pairs import Pair, PairError

VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}

_OPTIONS = (
    SSL.OP_CIPHER_SERVER_PREFERENCE
    | SSL.OP_NO_COMPRESSION
    | SSL.OP_NO_RENEGOTIATION  # a client could have us calculate again and again (CVE-2011-1473)
)


@dataclass(frozen=True, slots=True)
class Terms:
    """
    `minimum` is a key of `VERSIONS`, `ciphers` are those of TLS 1.2, as OpenSSL writes them.

    `asks` has clients asked for a certificate; `authorities`, in PEM, are whom it may be signed by.
    """

    minimum: str
    ciphers: str
    asks: bool = False
    authorities: bytes = b""


class Contexts:
    """
    The contexts for some pairs, of which there is at least one.

    `default` is for clients that name no host, or one of no pair: it has the first pair, and that of each other kind of
    key for a name of the first. So RSA and ECDSA stand side by side, and a client gets what it can read.
    """

    def __init__(self, pairs: Sequence[Pair], terms: Terms) -> None:
        self._terms = terms
        self._made: dict[tuple[int, ...], SSL.Context] = {}
        try:
            self._make(pairs)
        except SSL.Error as error:
            raise PairError(f"tls: OpenSSL refuses {_words(error)}") from error

    def _make(self, pairs: Sequence[Pair]) -> None:
        first = pairs[0]
        akin = [pair for pair in pairs if not set(pair.names).isdisjoint(first.names) or pair is first]
        self.default = self._context(akin)
        names = dict.fromkeys(name for pair in pairs for name in pair.names)
        self._by_name = {
            name: self._context([pair for wanted in (name, _above(name)) for pair in pairs if wanted in pair.names])
            for name in names
        }

    def for_name(self, name: str) -> SSL.Context:
        """The context for the host that a client wants."""
        name = name.lower().rstrip(".")
        return self._by_name.get(name) or self._by_name.get(_above(name)) or self.default

    def _context(self, pairs: Iterable[Pair]) -> SSL.Context:
        """One with the first pair of each kind."""
        chosen: dict[str, Pair] = {}
        for pair in pairs:
            chosen.setdefault(pair.kind, pair)
        identity = tuple(map(id, chosen.values()))
        if identity not in self._made:
            self._made[identity] = context = _made(chosen.values(), self._terms)
            context.set_tlsext_servername_callback(self._choose)
        return self._made[identity]

    def _choose(self, connection: SSL.Connection) -> None:
        name = connection.get_servername()
        if name is not None:
            connection.set_context(self.for_name(name.decode("ascii", "replace")))


def _words(error: SSL.Error) -> str:
    parts = error.args[0] if error.args else ()
    return "; ".join(str(part[-1]) for part in parts) or "them"


def _above(name: str) -> str:
    """The wildcard that a name falls under."""
    return f"*.{name.partition('.')[2]}"


def _made(pairs: Iterable[Pair], terms: Terms) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(VERSIONS[terms.minimum])
    context.set_options(_OPTIONS)
    context.set_cipher_list(terms.ciphers.encode("ascii"))
    context.set_session_id(b"mta")
    if terms.asks:
        # Any certificate will do for the handshake: hosts show what they have, and none of them is to be kept from
        # encrypting. Nobody comes back by an old session: what a certificate permits is asked anew.
        context.set_verify(SSL.VERIFY_PEER, _verified)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_TICKET)
        if terms.authorities:
            with _File(terms.authorities) as path:
                context.load_verify_locations(path)
                context.load_client_ca(path.encode("ascii"))
    for pair in pairs:
        # By a file: only so each certificate has a chain of its own.
        with _File(pair.chain) as path:
            context.use_certificate_chain_file(path)
        context.use_privatekey(pair.key)
        context.check_privatekey()
    return context


def _verified(connection: SSL.Connection, _certificate: object, error: int, _depth: int, good: int) -> bool:
    """Note that a client's certificate, or one of its chain, is not good; and go on."""
    if not good:
        connection.set_app_data(error)
    return True


class _File:
    """Octets as a file that OpenSSL can open: what was checked is what is used, whatever the disk has by now."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __enter__(self) -> str:
        self._descriptor = os.memfd_create("mta-pem", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(self._descriptor), "wb") as file:
            file.write(self._content)
        return f"/proc/self/fd/{self._descriptor}"

    def __exit__(self, *_fault: object) -> None:
        os.close(self._descriptor)

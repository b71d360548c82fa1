"""
TLS, as our listeners speak it.

Owns: the connections of OpenSSL, the contexts of the certificates of today, which client certificates permit to relay.
Never: moves a byte.
Fails: with `PairError` when it is made from what can't be used at all; later never.
"""

# mypy: allow-untyped-calls
# (OpenSSL's connections have no annotations in part)

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL
from twisted.logger import Logger
from zope.interface import implementer

from mta.config.schema import Config
from mta.encryption import Encryption
from mta.interfaces import IServerTls
from mta.tls.certificates import Certificates
from mta.tls.configured import files, terms
from mta.tls.contexts import Contexts, Terms
from mta.tls.pairs import Files, PairError


def server_tls(config: Config, seconds: Callable[[], float], before: ServerTls | None = None) -> ServerTls | None:
    """
    The TLS of a configuration, None where it has no certificates; `before` is that of the configuration until now.

    Raises `PairError` where the ciphers or the authorities can't be used.
    """
    if not config.tls.certificates:
        return None
    return ServerTls(files(config), terms(config), frozenset(config.relay.client_certificates), seconds, before)


@implementer(IServerTls)
class ServerTls:
    """
    See `server_tls`. `permitted` are the fingerprints of the client certificates that permit to relay, in lower case
    hex; what the authorities of `terms` have signed permits it as well.
    """

    _log = Logger()

    def __init__(
        self,
        pairs: list[Files],
        terms: Terms,
        permitted: frozenset[str],
        seconds: Callable[[], float],
        before: ServerTls | None = None,
    ) -> None:
        self._terms = terms
        self._permitted = permitted
        known = None if before is None else before.certificates
        self.certificates: Certificates = Certificates(pairs, seconds, known)
        self._contexts: Contexts | None = None
        if self.certificates.pairs:
            self._contexts = Contexts(self.certificates.pairs, terms)

    def context(self) -> SSL.Context | None:
        """What connections begin with by the certificates of today; None where there has never been one."""
        if self.certificates.look():
            try:
                self._contexts = Contexts(self.certificates.pairs, self._terms)
            except PairError as error:
                self._log.error("the certificates are as they were: {why}", why=error)
        return None if self._contexts is None else self._contexts.default

    def connection(self, peer_closed: Callable[[], None]) -> SSL.Connection | None:
        context = self.context()
        if context is None:
            return None
        connection = _Connection(context, None)
        connection.peer_closed = peer_closed
        connection.set_accept_state()
        return connection

    def outcome(self, connection: SSL.Connection) -> Encryption:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        version, cipher = connection.get_protocol_version_name(), connection.get_cipher_name() or ""
        if certificate is None:
            return Encryption(version, cipher)
        fingerprint = certificate.fingerprint(SHA256()).hex()
        signed = bool(self._terms.authorities) and connection.get_app_data() is None
        return Encryption(version, cipher, fingerprint, signed or fingerprint in self._permitted)


class _Connection(SSL.Connection):
    """A connection that tells of the peer's close_notify, but for that goes on as if nothing had come."""

    peer_closed: Callable[[], None] | None = None

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        try:
            return bytes(super().recv(bufsiz, flags))
        except SSL.ZeroReturnError:
            told, self.peer_closed = self.peer_closed, None
            if told is not None:
                told()
            raise SSL.WantReadError from None

"""
The parts of one request over HTTPS: the certificate that is verified, and the bounds on what comes.

Owns: whom to trust, the names in a certificate, counting octets wherever they stand in an answer.
Never: sends a request (`https.py`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.client import URI, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

# What OpenSSL finds wrong with a chain, by the X509_V_ERR_ numbers of x509_vfy.h.
_CHAIN_FAULTS = {
    9: "is not yet valid",
    10: "has expired",
    18: "is self-signed",
    19: "leads to a CA that is not trusted",
    20: "leads to a CA that is not known, or a certificate between them is missing",
    21: "comes without those between it and its CA",
    23: "was revoked",
    66: "has a key that is too weak",
    68: "is signed with a digest that is too weak",
}


def trusted(ca_file: str) -> Any:
    """Whom to trust for HTTPS: the CAs in a PEM file, or those of the system for "". Raises OSError, ValueError."""
    if not ca_file:
        return ssl.platformTrust()
    end = "-----END CERTIFICATE-----"
    parts = [part + end for part in Path(ca_file).read_text(encoding="ascii").split(end)[:-1]]
    if not parts:
        raise ValueError("has no certificate in PEM format")
    try:
        return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(part.encode()) for part in parts])
    except (SSL.Error, crypto.Error):
        raise ValueError("has a certificate that can't be read") from None


class BodyReader(Protocol):
    """
    Collects a body of at most `limit` octets; `body` fires with it, or with None as soon as it is larger.

    It fails with what the connection broke with. `hang_up` ends the connection.
    """

    def __init__(self, limit: int, hang_up: Callable[[], None]) -> None:
        self.body: Deferred[bytes | None] = Deferred(lambda _: hang_up())
        self._left = limit
        self._hang_up = hang_up
        self._pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._pieces.append(data)
        elif not self.body.called:
            self._pieces.clear()
            self.body.callback(None)
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.body.called:
            return
        # Without a length, the end of the connection is the end of the body (RFC 9112 6.3).
        if reason.check(ResponseDone, PotentialDataLoss):
            self.body.callback(b"".join(self._pieces))
        else:
            self.body.errback(reason)


def _identified(host: str) -> tuple[bytes, DNS_ID | IPAddress_ID]:
    """What to say in SNI (RFC 6066 3: no address), and what the certificate must be for. Raises ValueError."""
    try:
        return b"", IPAddress_ID(str(ipaddress.ip_address(host)))
    except ValueError:
        return host.encode("ascii"), DNS_ID(host)


@implementer(IOpenSSLClientConnectionCreator)
class VerifiedHost:
    """
    TLS with a host: a chain to a CA that is trusted, and the name or the address among its subjectAltNames.

    As Twisted's `optionsForClientTLS`, but that it notes what is wrong with a chain: OpenSSL tells it here alone.
    Raises ValueError for what is no host name.
    """

    def __init__(self, host: str, trust_root: Any, calls: Calls) -> None:
        self._sni, self._identity = _identified(host)
        self._calls = calls
        self._options = ssl.CertificateOptions(trustRoot=trust_root)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Any:
        connection = self._options.clientConnectionForTLS(tlsProtocol)
        if self._sni:
            connection.set_tlsext_host_name(self._sni)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verified)
        return connection

    def _verified(self, _connection: object, certificate: Any, number: int, depth: int, is_good: int) -> bool:
        """OpenSSL asks it of each certificate of the chain, that of the host (depth 0) last."""
        if not is_good:
            which = "the certificate" if depth == 0 else "the certificate of a CA"
            self._calls.fault = f"{which} {_CHAIN_FAULTS.get(number, f'is not valid (OpenSSL: {number})')}"
            return False
        if depth:
            return True
        try:
            verify_service_identity(extract_patterns(certificate), [self._identity], [])
        except (VerificationError, CertificateError):
            self._calls.fault = "the certificate is for another name"
            return False
        self._calls.is_verified = True
        return True


class _Counted(ProtocolWrapper):
    """Ends a connection that brings too much, wherever in the response."""

    def __init__(self, factory: _CountedFactory, wrapped: IProtocol, calls: Calls) -> None:
        super().__init__(cast(Any, factory), wrapped)
        self._calls = calls

    def dataReceived(self, data: bytes) -> None:
        self._calls.received += len(data)
        if self._calls.received > self._calls.limit:
            self._calls.hang_up()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]


class _CountedFactory(Factory):
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, calls: Calls) -> None:
        self._wrapped = wrapped
        self._calls = calls

    def buildProtocol(self, addr: IAddress | None) -> _Counted | None:
        protocol = self._wrapped.buildProtocol(cast(IAddress, addr))
        return None if protocol is None else self._calls.made(_Counted(self, protocol, self._calls))

    def registerProtocol(self, protocol: ProtocolWrapper) -> None:
        """`ProtocolWrapper` asks for it."""

    def unregisterProtocol(self, protocol: ProtocolWrapper) -> None:
        """`ProtocolWrapper` asks for it."""


class Calls:
    """The connections of one request: what they brought in all, what is wrong with a certificate, and their end."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.received = 0
        self.fault = ""
        self.is_verified = False
        self._open: list[_Counted] = []

    def over(self, endpoint: IStreamClientEndpoint) -> _CountedEndpoint:
        """The endpoint, with what it connects counted here."""
        return _CountedEndpoint(endpoint, self)

    def made(self, connection: _Counted) -> _Counted:
        self._open.append(connection)
        return connection

    def hang_up(self) -> None:
        """End them without ceremony: a server that does not read must not keep them."""
        connections, self._open = self._open, []
        for connection in connections:
            if connection.transport is not None:
                cast(ITCPTransport, connection.transport).abortConnection()


@implementer(IStreamClientEndpoint)
class _CountedEndpoint:
    """Connects by another endpoint, and gives out the protocol that the factory made."""

    def __init__(self, endpoint: IStreamClientEndpoint, calls: Calls) -> None:
        self._endpoint = endpoint
        self._calls = calls

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connected: Deferred[Any] = self._endpoint.connect(_CountedFactory(protocolFactory, self._calls))
        return connected.addCallback(lambda counted: counted.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class OneEndpoint:
    """For any URL the one endpoint: the address was looked up before."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: ARG002
        return self._endpoint

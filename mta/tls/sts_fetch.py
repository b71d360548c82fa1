"""
Fetch the policy file of a domain over HTTPS (RFC 8461 3.3).

Owns: what is asked of the web server and its certificate, and the bounds on time, size and addresses.
Never: keeps a policy, or decides whether one is due.
Fails: `FetchError`, with the reason in words and as TLSRPT counts it (RFC 8460 4.3.2.1); nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
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
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from mta.interfaces import IResolver
from mta.lookup import Answer, Status
from mta.sts_policy import StsPolicy
from mta.tls.sts_text import MAX_POLICY, StsTextError, parse_policy

PORT = 443
# RFC 8461 3.3 suggests a minute, for all of it.
TIMEOUT = 60.0
CONNECT_TIMEOUT = 10.0
# A policy host has a few addresses; whoever lists a hundred dead ones gets no more of our time.
MAX_ADDRESSES = 4
# What the server may send in all: the policy, its header, and what chunks and a 1xx add.
MAX_RECEIVED = MAX_POLICY + 32 * 1024

# The words of RFC 8460 4.3.2.1 for a policy that could not be had.
FETCH_ERROR = "sts-policy-fetch-error"
INVALID = "sts-policy-invalid"
WEBPKI_INVALID = "sts-webpki-invalid"

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


class FetchError(Exception):
    """There is no policy to be had; `result` is the result type of TLSRPT."""

    def __init__(self, reason: str, result: str = FETCH_ERROR) -> None:
        super().__init__(reason)
        self.result = result


def policy_host(domain: str) -> str:
    """The name of the web server that has the policy of a domain."""
    return f"mta-sts.{domain}"


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


class StsFetcher:
    """
    Fetches policies; each call is one request on a connection of its own.

    `trust_root` is what `trusted` gives; `port` is another than 443 in tests alone.
    """

    def __init__(self, *, reactor: Any, resolver: IResolver, trust_root: Any, port: int = PORT) -> None:
        self._reactor = reactor  # IReactorTCP, IReactorTime
        self._resolver = resolver
        self._trust_root = trust_root
        self._port = port

    async def fetch(self, domain: str, id_: str) -> StsPolicy:
        """The policy that `domain` publishes now; `id_` is that of its TXT record. Raises `FetchError`."""
        calls = _Calls(MAX_RECEIVED)
        fetching = Deferred.fromCoroutine(self._fetch(domain, id_, calls))
        timer = self._reactor.callLater(TIMEOUT, fetching.cancel)
        try:
            return await fetching
        except (FetchError, CancelledError):
            # What was cancelled may come back as any other fault.
            if timer.active():
                raise
            raise FetchError(f"{policy_host(domain)}: no whole policy within {TIMEOUT:g} s") from None
        finally:
            if timer.active():
                timer.cancel()
            calls.hang_up()

    async def _fetch(self, domain: str, id_: str, calls: _Calls) -> StsPolicy:
        host = policy_host(domain)
        trouble = FetchError(f"{host} has no address")
        for address in await self._addresses(host):
            try:
                response = await self._request(host, address, calls)
                return parse_policy(await _body(host, response, calls), id_)
            except ConnectError as error:
                trouble = FetchError(f"{host}[{address}]: cannot connect: {error}")  # the next address may do
            except StsTextError as error:
                raise FetchError(f"{host}: {error}", INVALID) from None
            except (FetchError, CancelledError):
                raise
            except Exception as error:  # whatever the parts of the client raise for a server's nonsense
                raise self._named(host, address, error, calls) from None
        raise trouble

    async def _addresses(self, host: str) -> list[str]:
        answers = await gatherResults([self._resolver.lookup(host, kind) for kind in ("AAAA", "A")])
        found = _in_turn(*(map(_addresses_in, answers)))
        if not found:
            reason = "; ".join(dict.fromkeys(answer.reason for answer in answers if answer.reason))
            raise FetchError(f"{host} has no address: {reason}")
        return found

    async def _request(self, host: str, address: str, calls: _Calls) -> IResponse:
        try:
            creator = _PolicyHost(host, self._trust_root, calls)
        except ValueError as error:  # no name that IDNA knows
            raise FetchError(f"{host} is no host name: {error}") from None
        endpoint_type = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        plain = endpoint_type(self._reactor, address, self._port, CONNECT_TIMEOUT)
        secured = wrapClientTLS(creator, plain, clock=self._reactor)
        agent = Agent.usingEndpointFactory(self._reactor, _OneEndpoint(calls.over(secured)))
        headers = Headers({b"Accept": [b"text/plain"], b"User-Agent": [b"mta"]})
        url = f"https://{host}/.well-known/mta-sts.txt".encode("ascii")
        # This agent follows no redirects, and has no cache: RFC 8461 3.3 forbids both.
        response = cast(IResponse, await agent.request(b"GET", url, headers))
        if not calls.is_verified:  # OpenSSL always asks; a policy must not hang on that
            raise FetchError(f"{host}: its certificate was not verified", WEBPKI_INVALID)
        return response

    def _named(self, host: str, address: str, error: Exception, calls: _Calls) -> FetchError:
        """The fault as a sentence."""
        where = f"{host}[{address}]"
        if calls.received > MAX_RECEIVED:
            return FetchError(f"{where}: the answer has more than {MAX_POLICY} octets", INVALID)
        if calls.fault:
            return FetchError(f"{where}: {calls.fault}", WEBPKI_INVALID)
        causes = [failure.value for failure in getattr(error, "reasons", ())] or [error]
        words = "; ".join(dict.fromkeys(_words(cause) for cause in causes))
        return FetchError(f"{where}: the request failed: {words}")


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _addresses_in(answer: Answer) -> list[str]:
    """The addresses of an answer that are ones."""
    found = []
    for record in answer.records if answer.status is Status.ANSWER else ():
        try:
            found.append(str(ipaddress.ip_address(str(record))))
        except ValueError:
            continue
    return found


def _in_turn(*families: list[str]) -> list[str]:
    """The families take turns: one that is broken on our side must not take all tries."""
    turns = chain.from_iterable(zip_longest(*families))
    return [address for address in turns if address is not None][:MAX_ADDRESSES]


async def _body(host: str, response: IResponse, calls: _Calls) -> bytes:
    """The body of a response that may carry a policy."""
    if response.code != 200:  # RFC 8461 3.3: 3xx is not followed, and nothing but 200 is a policy
        moved = " (redirects are not followed)" if 300 <= response.code < 400 else ""
        raise FetchError(f"{host} answered {response.code}{moved}")
    types = response.headers.getRawHeaders("Content-Type") or [""]
    # RFC 8461 3.3: so that who may upload other files to the host can't set a policy.
    if len(types) != 1 or types[0].partition(";")[0].strip().lower() != "text/plain":
        raise FetchError(
            f"{host} sent the content type {ascii(', '.join(types))[:80]} where text/plain is due", INVALID
        )
    if isinstance(response.length, int) and response.length > MAX_POLICY:
        raise FetchError(f"{host}: the policy has more than {MAX_POLICY} octets", INVALID)
    reader = BodyReader(MAX_POLICY, calls.hang_up)
    response.deliverBody(reader)
    body = await reader.body
    if body is None:
        raise FetchError(f"{host}: the policy has more than {MAX_POLICY} octets", INVALID)
    return body


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


@implementer(IOpenSSLClientConnectionCreator)
class _PolicyHost:
    """
    TLS with the policy host (RFC 8461 3.3): a chain to a CA that is trusted, and the name among its subjectAltNames.

    As Twisted's `optionsForClientTLS`, but that it notes what is wrong with a chain: OpenSSL tells it here alone.
    """

    def __init__(self, host: str, trust_root: Any, calls: _Calls) -> None:
        self._sni = host.encode("ascii")
        self._identity = DNS_ID(host)
        self._calls = calls
        self._options = ssl.CertificateOptions(trustRoot=trust_root)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Any:
        connection = self._options.clientConnectionForTLS(tlsProtocol)
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

    def __init__(self, factory: _CountedFactory, wrapped: IProtocol, calls: _Calls) -> None:
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

    def __init__(self, wrapped: IProtocolFactory, calls: _Calls) -> None:
        self._wrapped = wrapped
        self._calls = calls

    def buildProtocol(self, addr: IAddress | None) -> _Counted | None:
        protocol = self._wrapped.buildProtocol(cast(IAddress, addr))
        return None if protocol is None else self._calls.made(_Counted(self, protocol, self._calls))

    def registerProtocol(self, protocol: ProtocolWrapper) -> None:
        """`ProtocolWrapper` asks for it."""

    def unregisterProtocol(self, protocol: ProtocolWrapper) -> None:
        """`ProtocolWrapper` asks for it."""


class _Calls:
    """The connections of one fetch: what they brought in all, what is wrong with a certificate, and their end."""

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

    def __init__(self, endpoint: IStreamClientEndpoint, calls: _Calls) -> None:
        self._endpoint = endpoint
        self._calls = calls

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connected: Deferred[Any] = self._endpoint.connect(_CountedFactory(protocolFactory, self._calls))
        return connected.addCallback(lambda counted: counted.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class _OneEndpoint:
    """For any URL the one endpoint: the address was looked up before."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: ARG002
        return self._endpoint

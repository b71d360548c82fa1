"""An HTTPS server on loopback that says what a test wants it to say, with certificates of a CA of its own."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet import ssl
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.test\r\nmx: *.example.test\r\nmax_age: 604800\r\n"
_DAY = datetime.timedelta(days=1)


def response(
    body: bytes = POLICY, *, status: str = "200 OK", content_type: str = "text/plain", more: tuple[str, ...] = ()
) -> bytes:
    """A whole HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


class WebConnection(Protocol):
    """Reads one request, sends the pieces of the answer, and closes where the server says so."""

    def __init__(self, server: WebServer) -> None:
        self._server = server
        self._read = b""
        self._is_lost = False

    def connectionMade(self) -> None:
        self._server.connections += 1

    def dataReceived(self, data: bytes) -> None:
        self._read += data
        _head, end, body = self._read.partition(b"\r\n\r\n")
        if not end or len(body) < self._server.body:
            return
        self._server.requests.append(self._read)
        assert self.transport is not None
        answers = self._server.answers
        self.transport.write(answers(self._read) if answers else self._server.answer)
        if self._server.endless:
            self._pour()
        elif self._server.closes:
            self.transport.loseConnection()

    def _pour(self) -> None:
        """Send more and more, for as long as somebody takes it."""
        if not self._is_lost and self.transport is not None:
            self._server.poured += len(self._server.endless)
            self.transport.write(self._server.endless)
            self._server.reactor.callLater(0, self._pour)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._is_lost = True
        self._server.lost()


class WebServer:
    """
    Listens on a free port of 127.0.0.1.

    `answer` is sent to each request, `endless` again and again behind it; `requests` are those that came in whole, with
    bodies of `body` octets; `answers` makes an answer for each, where there is such a function. Without a certificate
    it speaks HTTP in clear.
    """

    def __init__(self, reactor: Any, certificate: trustme.LeafCert | bytes | None) -> None:
        self.reactor = reactor
        self.answer = response()
        self.answers: Callable[[bytes], bytes] | None = None
        self.endless = b""
        self.closes = False
        self.body = 0
        self.requests: list[bytes] = []
        self.connections = 0
        self.poured = 0
        self.when_lost: Deferred[None] = Deferred()
        factory = Factory.forProtocol(lambda: WebConnection(self))
        if certificate is None:
            self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            pem = certificate if isinstance(certificate, bytes) else certificate.private_key_and_cert_chain_pem.bytes()
            options = ssl.PrivateCertificate.loadPEM(pem).options()
            self._port = reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.port: int = self._port.getHost().port

    def lost(self) -> None:
        """A connection has ended."""
        if not self.when_lost.called:
            self.when_lost.callback(None)

    def stop(self) -> Deferred[Any]:
        return maybeDeferred(self._port.stopListening)


def issued(ca: trustme.CA, name: str, first_day: int, last_day: int) -> trustme.LeafCert:
    """A certificate that is good between two days, counted from today."""
    now = datetime.datetime.now(datetime.UTC)
    return ca.issue_cert(name, not_before=now + first_day * _DAY, not_after=now + last_day * _DAY)


def self_signed(name: str) -> bytes:
    """Key and certificate that nobody but itself vouches for, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


class Plain(Protocol):
    """A server that does not speak TLS: it sends `word` to whatever comes."""

    word = b""

    def __init__(self) -> None:
        self.spoken = False
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:  # noqa: ARG002
        self.spoken = True
        assert self.transport is not None
        self.transport.write(self.word)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self.lost.callback(None)

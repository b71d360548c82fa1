"""
Serve our own MTA-STS policy over HTTPS (RFC 8461 3.2, 3.3).

Owns: which requests are answered with the policy, and the bounds on who asks.
Never: listens, chooses a certificate (`mta/tls/server.py`).
Fails: never for a client: what asks for something else gets a status, what is no HTTP is disconnected.

It is a web server for a single file. Nothing that a client sends is kept: a body is read past, and there is no log of
requests.
"""

# mypy: allow-untyped-calls
# (twisted.web has no annotations in part)

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IReactorTime
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from mta.tls.server import ServerTls
from mta.tls.sts_fetch import policy_host

PATH = b"/.well-known/mta-sts.txt"
# Senders come once a day for each domain, and want 200 octets. What goes beyond that is no mail server's.
MAX_CONNECTIONS = 100
# Seconds of silence, that of a handshake included.
TIMEOUT = 20.0


class PolicyPage(Resource):
    """Answers for the policy hosts of `domains`; `policy` is the file."""

    isLeaf = True

    def __init__(self, domains: Iterable[str], policy: str) -> None:
        super().__init__()
        self._hosts = frozenset(policy_host(domain).encode("ascii") for domain in domains)
        self._policy = policy.encode("ascii")

    def render(self, request: Request) -> bytes | int:
        status, body = self._answer(request)
        request.setResponseCode(status)
        request.setHeader(b"Server", b"mta")
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.setHeader(b"Content-Length", b"%d" % len(body))
        if status == 405:
            request.setHeader(b"Allow", b"GET, HEAD")
        if request.method != b"HEAD":
            return body
        request.write(b"")
        request.finish()
        return NOT_DONE_YET

    def _answer(self, request: Request) -> tuple[int, bytes]:
        host = request.getRequestHostname().lower().removesuffix(b".")
        if host not in self._hosts or request.path != PATH:
            return 404, b"There is nothing here.\n"
        if request.method not in (b"GET", b"HEAD"):
            return 405, b"The policy is there for GET and HEAD.\n"
        return 200, self._policy


class _Request(Request):
    """A request whose body is read past: twisted.web would keep it, a large one in a file."""

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Keep nothing of it."""


class PolicySite(Site):
    """The site in clear: what is under TLS."""

    noisy = False

    def __init__(self, domains: Iterable[str], policy: str, reactor: IReactorTime) -> None:
        super().__init__(PolicyPage(domains, policy), _Request, timeout=TIMEOUT, reactor=reactor)

    def startFactory(self) -> None:
        """No log of requests, and no timer for the time in its lines."""

    def log(self, request: HttpRequest) -> None:
        """Strangers' words are not for the log of the daemon."""


class PolicyServer(TLSMemoryBIOFactory):
    """The site over TLS, for a bounded number of clients at once. Nobody is let in while there is no certificate."""

    noisy = False

    def __init__(self, site: PolicySite, tls: ServerTls, reactor: Any) -> None:
        super().__init__(_Creator(tls), isClient=False, wrappedFactory=site, clock=reactor)
        self._tls = tls

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        if len(self.protocols) >= MAX_CONNECTIONS or self._tls.context() is None:
            return None
        return super().buildProtocol(addr)


@implementer(IOpenSSLServerConnectionCreator)
class _Creator:
    """Makes connections with the certificates of today."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002
        context = self._tls.context()
        assert context is not None  # `buildProtocol` has seen one, and it is never given up
        return SSL.Connection(context, None)

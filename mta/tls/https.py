"""
Requests over HTTPS, for whoever in here has to ask a web server.

Owns: the addresses that are tried, the bounds on time and size, what went wrong in words.
Never: follows a redirect, keeps an answer or a connection, or knows what an answer means.
Fails: `WebError`, and what the caller's `accept` raises; nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any, cast
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IConsumer
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from mta.interfaces import IResolver, IWebClient
from mta.lookup import Answer, Status
from mta.tls.https_connection import BodyReader, Calls, OneEndpoint, VerifiedHost
from mta.web import WebAnswer, WebError, WebFault, WebRequest

PORT = 443
CONNECT_TIMEOUT = 10.0
# A host has a few addresses; whoever lists a hundred dead ones gets no more of our time.
MAX_ADDRESSES = 4
# What the server may send beside the body: its header, and what chunks and a 1xx add.
OVERHEAD = 32 * 1024

# Raises where the answer will not do, before its body is read; it is given status and types.
Accept = Callable[[WebAnswer], None]


@implementer(IWebClient)
class Https:
    """
    Each call is one request on a connection of its own.

    `trust_root` is what `https_connection.trusted` gives; `port` is that of URLs without one, another in tests alone.
    `clear`: http:// URLs are asked as well, without TLS; else TLS is spoken whatever a URL says.
    """

    def __init__(
        self, *, reactor: Any, resolver: IResolver, trust_root: Any, port: int = PORT, clear: bool = False
    ) -> None:
        self._reactor = reactor  # IReactorTCP, IReactorTime
        self._resolver = resolver
        self._trust_root = trust_root
        self._port = port
        self._clear = clear

    def ask(self, request: WebRequest, accept: Accept = lambda _begun: None) -> Deferred[WebAnswer]:
        """As `IWebClient` says."""
        return Deferred.fromCoroutine(self._ask(request, accept))

    async def _ask(self, request: WebRequest, accept: Accept) -> WebAnswer:
        url = urlsplit(request.url)
        host = url.hostname or ""
        calls = Calls(request.limit + OVERHEAD)
        port = url.port or (80 if self._is_clear(request) else self._port)
        exchanging = Deferred.fromCoroutine(self._exchange(request, host, port, accept, calls))
        timer = self._reactor.callLater(request.timeout, exchanging.cancel)
        try:
            return await exchanging
        except (WebError, CancelledError):
            # What was cancelled may come back as any other fault.
            if timer.active():
                raise
            raise WebError(f"{host}: no whole answer within {request.timeout:g} s") from None
        finally:
            if timer.active():
                timer.cancel()
            calls.hang_up()

    async def _exchange(self, request: WebRequest, host: str, port: int, accept: Accept, calls: Calls) -> WebAnswer:
        trouble = WebError(f"{host} has no address")
        for address in await self._addresses(host):
            try:
                response = await self._response(request, host, address, port, calls)
            except ConnectError as error:
                trouble = WebError(f"{host}[{address}]: cannot connect: {error}")  # the next address may do
                continue
            except (WebError, CancelledError):
                raise
            except Exception as error:  # whatever the parts of the client raise for a server's nonsense
                raise _named(host, address, error, request.limit, calls) from None
            types = tuple(response.headers.getRawHeaders("Content-Type") or ("",))
            accept(WebAnswer(response.code, types, b""))
            try:
                return WebAnswer(response.code, types, await _body(host, response, request.limit, calls))
            except (WebError, CancelledError):
                raise
            except Exception as error:
                raise _named(host, address, error, request.limit, calls) from None
        raise trouble

    def _is_clear(self, request: WebRequest) -> bool:
        return self._clear and request.url.startswith("http:")

    async def _addresses(self, host: str) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        answers = await gatherResults([self._resolver.lookup(host, kind) for kind in ("AAAA", "A")])
        found = _in_turn(*(map(_addresses_in, answers)))
        if not found:
            reason = "; ".join(dict.fromkeys(answer.reason for answer in answers if answer.reason))
            raise WebError(f"{host} has no address: {reason}")
        return found

    async def _response(self, request: WebRequest, host: str, address: str, port: int, calls: Calls) -> IResponse:
        try:
            creator = VerifiedHost(host, self._trust_root, calls)
        except ValueError as error:  # no name that IDNA knows
            raise WebError(f"{host} is no host name: {error}") from None
        endpoint_type = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        plain = endpoint_type(self._reactor, address, port, CONNECT_TIMEOUT)
        is_clear = self._is_clear(request)
        endpoint = plain if is_clear else wrapClientTLS(creator, plain, clock=self._reactor)
        agent = Agent.usingEndpointFactory(self._reactor, OneEndpoint(calls.over(endpoint)))
        headers = Headers({"User-Agent": ["mta"]})
        for name, value in request.headers:
            headers.addRawHeader(name, value)
        # This agent follows no redirects, and has no cache.
        response = cast(
            IResponse,
            await agent.request(
                request.method.encode("ascii"),
                request.url.encode("ascii"),
                headers,
                _Whole(request.body) if request.body else None,
            ),
        )
        if not calls.is_verified and not is_clear:  # OpenSSL always asks; nothing must hang on that
            raise WebError(f"{host}: its certificate was not verified", WebFault.CERTIFICATE)
        return response


@implementer(IBodyProducer)
class _Whole:
    """A body that is at hand, and is written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing more to come."""

    resumeProducing = stopProducing = pauseProducing


def _named(host: str, address: str, error: Exception, limit: int, calls: Calls) -> WebError:
    """The fault as a sentence."""
    where = f"{host}[{address}]"
    if calls.received > calls.limit:
        return WebError(f"{where}: the answer has more than {limit} octets", WebFault.TOO_LARGE)
    if calls.fault:
        return WebError(f"{where}: {calls.fault}", WebFault.CERTIFICATE)
    causes = [failure.value for failure in getattr(error, "reasons", ())] or [error]
    words = "; ".join(dict.fromkeys(_words(cause) for cause in causes))
    return WebError(f"{where}: the request failed: {words}")


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


async def _body(host: str, response: IResponse, limit: int, calls: Calls) -> bytes:
    """The body of a response."""
    too_large = WebError(f"{host}: the answer has more than {limit} octets", WebFault.TOO_LARGE)
    if isinstance(response.length, int) and response.length > limit:
        raise too_large
    reader = BodyReader(limit, calls.hang_up)
    response.deliverBody(reader)
    body = await reader.body
    if body is None:
        raise too_large
    return body

"""
The ports of the listeners, and of what else listens.

Owns: what of a configured endpoint is listened on, and how: by this process, or by each of several workers on a socket
of its own.
Never: knows what is spoken there.
Fails: `StartError` that names the listener.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory, ServerFactory
from twisted.python.failure import Failure

from mta.config.receiving import Listener
from mta.daemon.starting import StartError

# Connections that wait to be accepted; the kernel's net.core.somaxconn (4096) bounds it.
BACKLOG = 1024


class Front(ServerFactory):
    """What a port gives its connections to: the factory `behind` it, which may be replaced while it listens."""

    noisy = False

    def __init__(self, behind: IProtocolFactory) -> None:
        self.behind = behind

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self.behind.buildProtocol(addr)  # type: ignore[arg-type] # addr is for it to know


def listen(reactor: Any, listener: Listener, factory: Factory) -> IListeningPort:
    """Listen on the endpoint of a listener, through `reactor`: the real one, `Binding` or `Handed`."""
    return listen_at(reactor, listener.endpoint, f"listener {listener.name!r}", factory)


def listen_at(reactor: Any, text: str, who: str, factory: Factory) -> IListeningPort:
    """Listen on the endpoint that `text` spells; `who` does, for people."""
    try:
        endpoint = serverFromString(reactor, _with_backlog(text))
    except Exception as error:  # of a plugin, of OpenSSL, of the missing file: whatever reads the text raises
        raise StartError(
            f"{who}: {text} is no endpoint that can be used: {error}",
            os.EX_CONFIG,
        ) from error
    opened: Deferred[IListeningPort] = endpoint.listen(factory)
    found: list[IListeningPort | Failure] = []
    opened.addBoth(found.append)
    (port,) = found or [Failure(RuntimeError("it does not open at once"))]
    if isinstance(port, Failure):
        if isinstance(port.value, StartError):
            raise port.value
        reason = port.value.socketError if isinstance(port.value, CannotListenError) else port.value
        raise StartError(f"{who}: cannot listen on {text}: {reason}", os.EX_UNAVAILABLE)
    return port


@dataclass(frozen=True, slots=True)
class Shared:
    """The sockets of a listener, one for each worker: all of the same port, among which the kernel spreads clients."""

    endpoint: str
    sockets: tuple[socket.socket, ...]


def bind(reactor: Any, listener: Listener, workers: int) -> Shared:
    """A listening socket of a listener for each worker. They stay open while a worker is away: clients wait in them."""
    binding = _Binding(reactor, workers)
    listen(binding, listener, Factory())
    return Shared(listener.endpoint, tuple(binding.sockets))


def adopt(reactor: Any, listener: Listener, descriptor: int, factory: Factory) -> Any:
    """Listen on a socket that `bind` made in another process, as the endpoint says (the PROXY protocol...)."""
    handed = _Handed(reactor, descriptor)
    if listener.endpoint.startswith("systemd:"):  # its descriptors have names in the process that systemd started
        return handed.listenTCP(0, factory)
    return listen(handed, listener, factory)


class _Reactor:
    """A reactor to an endpoint that wants to listen, and nothing else."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenUNIX(self, address: str, *_more: object, **_others: object) -> Any:
        raise StartError(
            f"{address}: a UNIX socket can't be listened on by several workers; set workers to 1, or use tcp:",
            os.EX_CONFIG,
        )


class _Binding(_Reactor):
    """Binds where others would listen."""

    def __init__(self, reactor: Any, workers: int) -> None:
        super().__init__(reactor)
        self._workers = workers
        self.sockets: list[socket.socket] = []

    def listenTCP(self, port: int, _factory: object, backlog: int = BACKLOG, interface: str = "") -> Any:
        family = socket.AF_INET6 if isIPv6Address(interface) else socket.AF_INET
        try:
            # Without SO_REUSEPORT first: another daemon that shares its ports in this way must not share ours.
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((interface, port))
                probe.listen(1)
            for _ in range(self._workers):
                bound = socket.socket(family, socket.SOCK_STREAM)
                self.sockets.append(bound)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                bound.setblocking(False)
                bound.bind((interface, port))
                bound.listen(backlog)
                port = bound.getsockname()[1]
        except OSError as error:
            raise CannotListenError(interface, port, error) from error
        return self

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, _factory: object) -> Any:
        """One socket for all: the kernel spreads clients less evenly, and whoever made it wants it so."""
        for _ in range(self._workers):
            self.sockets.append(socket.socket(addressFamily, socket.SOCK_STREAM, fileno=os.dup(fileDescriptor)))
        return self


class _Handed(_Reactor):
    """Listens on `descriptor`, whatever port is asked for."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        super().__init__(reactor)
        self._descriptor = descriptor

    def listenTCP(self, _port: int, factory: Factory, *_more: object, **_others: object) -> Any:
        with socket.socket(fileno=os.dup(self._descriptor)) as handed:
            family = handed.family
        return self._reactor.adoptStreamPort(self._descriptor, family, factory)


def close(shared: Sequence[Shared]) -> None:
    """Close the sockets of listeners: from now on clients are refused."""
    for listener in shared:
        for each in listener.sockets:
            each.close()


def _with_backlog(endpoint: str) -> str:
    """
    The endpoint with our length of the queue of connections that the kernel holds for us.

    Twisted's is 50: of 2,000 clients that come at once most would wait for the second SYN.
    """
    takes_one = endpoint.startswith(("tcp:", "tcp6:")) and ":backlog=" not in endpoint
    return f"{endpoint}:backlog={BACKLOG}" if takes_one else endpoint

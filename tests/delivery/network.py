"""A network in memory, with a clock: what `RemoteAgent` needs of a reactor."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionRefusedError, TimeoutError, UserError
from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from zope.interface import implementer

from mta.delivery.connecting import IReactorSMTP

START = 1_700_000_000.0


class Connector:
    """A connection that is being made. `address` is where it goes (a path has port 0), `bind` where it comes from."""

    def __init__(self, factory: ClientFactory, address: tuple[str, int], bind: tuple[str, int] | None) -> None:
        self.address = address
        self.bind = bind
        self.waiting = True
        self._factory = factory

    def stopConnecting(self) -> None:
        self.fail(UserError())

    def fail(self, error: Exception) -> None:
        if self.waiting:
            self.waiting = False
            self._factory.clientConnectionFailed(self, Failure(error))  # type: ignore[arg-type]

    def succeed(self, server: ServerFactory) -> IOPump | None:
        if not self.waiting:
            return None
        self.waiting = False
        peer = IPv4Address("TCP", *self.address)
        client, served = self._factory.buildProtocol(peer), server.buildProtocol(peer)
        pump: IOPump = connect(
            served, FakeTransport(served, isServer=True), client, FakeTransport(client, isServer=False), greet=False
        )
        return pump


@implementer(IReactorSMTP)
class Network(Clock):
    """
    Servers at (address, port). Nobody listens elsewhere; `silent` addresses drop everything, `errors` refuse so.

    Things move only in `settle` and `pass_time`.
    """

    def __init__(self, servers: dict[tuple[str, int], ServerFactory] | None = None) -> None:
        super().__init__()
        self.rightNow = START
        self.servers = dict(servers or {})
        self.silent: set[tuple[str, int]] = set()
        self.errors: dict[tuple[str, int], Exception] = {}
        self.connectors: list[Connector] = []
        self.pumps: list[IOPump] = []

    @property
    def tried(self) -> list[str]:
        """The addresses connected to, in order."""
        return [connector.address[0] for connector in self.connectors]

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        connector = Connector(factory, (host, port), bindAddress)
        self.connectors.append(connector)
        factory.startedConnecting(connector)  # type: ignore[arg-type]
        if connector.address in self.silent:
            self.callLater(timeout, connector.fail, TimeoutError())
        else:
            self.callLater(0, self._arrive, connector)
        return connector  # type: ignore[return-value]

    def connectUNIX(
        self,
        address: str,
        factory: ClientFactory[Any],
        timeout: float = 30,
        checkPID: bool = False,  # noqa: ARG002
    ) -> IConnector:
        return self.connectTCP(address, 0, factory, timeout)

    def listenUNIX(self, *_args: Any, **_more: Any) -> Any:
        raise AssertionError("a client does not listen")

    def listenTCP(self, *_args: Any, **_more: Any) -> Any:
        raise AssertionError("a client does not listen")

    def _arrive(self, connector: Connector) -> None:
        server = self.servers.get(connector.address)
        if server is None:
            connector.fail(self.errors.get(connector.address, ConnectionRefusedError(111, "Connection refused")))
            return
        pump = connector.succeed(server)
        if pump is not None:
            self.pumps.append(pump)

    def settle(self) -> None:
        """Move everything that can move without time passing."""
        moved = True
        while moved:
            before = len(self.connectors)
            self.advance(0)
            moved = len(self.connectors) > before
            for pump in self.pumps:
                moved = pump.flush(advanceClock=False) or moved

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in steps that let every timer act."""
        end = self.seconds() + seconds
        self.settle()
        while self.getDelayedCalls() and (due := min(call.getTime() for call in self.getDelayedCalls())) <= end:
            self.advance(max(0.0, due - self.seconds()))
            self.settle()
        self.advance(max(0.0, end - self.seconds()))
        self.settle()

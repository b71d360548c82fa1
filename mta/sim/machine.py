"""
A simulated machine: what a program on it takes for its reactor.

Owns: its time (the world's, as long as it runs), its connections, its death.
Never: runs a thread or touches the host that simulates it.

After `crash` nothing that was scheduled on it happens, and its peers see their connections break, as after SIGKILL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IListeningPort,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from zope.interface import implementer

from mta.sim.clock import SimulatedClock
from mta.sim.network import Connector, Network, Port
from mta.sim.wire import End


@implementer(IReactorTime, IReactorTCP, IReactorUNIX)
class Machine:
    """
    One machine on `network`, with the IP address `address`.

    `steps` counts the calls it has made. `crash_at_step` makes it crash in the place of that call, and then `crashed`
    is told.
    """

    def __init__(self, clock: SimulatedClock, network: Network, address: str) -> None:
        self.address = address
        self.alive = True
        self.steps = 0
        self.crash_at_step: int | None = None
        self.crashed: Callable[[], None] = lambda: None
        self._clock = clock
        self._network = network
        self._ends: dict[End, None] = {}  # a set that keeps its order
        self._many = 1000  # ends: from there on it is worth while to forget the closed ones
        self._ports: list[Port] = []

    # IReactorTime

    def seconds(self) -> float:
        return self._clock.rightNow

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        return self._clock.callLater(delay, self._call, callable, args, kw)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return self._clock.getDelayedCalls()

    def _call(self, callable: Callable[..., object], args: tuple[object, ...], kw: dict[str, object]) -> None:
        if not self.alive:
            return
        self.steps += 1
        if self.steps == self.crash_at_step:
            self.crash()
            self.crashed()
            return
        callable(*args, **kw)

    # Threads: there are none, but what comes back from one comes in a turn of its own.

    def callFromThread(self, callable: Callable[..., object], *args: object, **kw: object) -> None:
        self.callLater(0, callable, *args, **kw)

    def run_in_thread(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Do `work` in the next turn: what `deferToThread` is on a real machine."""
        done: Deferred[Any] = Deferred()
        self.callLater(0, lambda: maybeDeferred(work).chainDeferred(done))
        return done

    # IReactorTCP, IReactorUNIX

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:  # noqa: ARG002
        """Listen at the machine's own address, whatever `interface` says: its loopback is nobody else's."""
        listening = self._network.listen((self.address, port), self, factory, self._opened)
        self._ports.append(listening)
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        near = (bindAddress[0] if bindAddress and bindAddress[0] else self.address, self._network.client_port())
        connector = Connector(self._network, self, near, (host, port), factory, timeout, self._opened)
        connector.connect()
        return connector

    def listenUNIX(self, address: str, factory: Any, *_args: Any, **_more: Any) -> IListeningPort:
        listening = self._network.listen((address, 0), self, factory, self._opened)
        self._ports.append(listening)
        return listening

    def connectUNIX(self, address: str, factory: Any, timeout: float = 30, checkPID: bool = False) -> IConnector:  # noqa: ARG002
        connector = Connector(self._network, self, (address, 0), (address, 0), factory, timeout, self._opened)
        connector.connect()
        return connector

    def _opened(self, end: End) -> None:
        self._ends[end] = None
        if len(self._ends) > self._many:
            self._ends = {kept: None for kept in self._ends if kept.connected}
            self._many = 1000 + 2 * len(self._ends)

    # Death

    def crash(self) -> None:
        """Stop at once, as after SIGKILL: whoever is connected learns of it, nobody here does."""
        self.alive = False
        for port in self._ports:
            self._network.closed(port.place)
        for end in self._ends:
            end.break_off()

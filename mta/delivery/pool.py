"""
Keep connections that are ready for another message.

Owns: which idle connection a site's next message gets, and when an idle one has been kept long enough.
Never: opens a connection, counts those in use.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mta.delivery.connection import ClientConnection
from mta.delivery.timeouts import ClientLimits, ClientTimeouts
from mta.login import Login
from mta.tls_policy import DEFAULT_POLICY, TlsPolicy


class ConnectionPool:
    """
    The idle connections of all sites.

    A connection serves `messages_per_connection` messages or lives for `lifetime`, whichever ends first, and is idle
    for `idle` at most. Those that leave send QUIT and are waited for by `stop` alone. `closed` is called with the site
    of each that is no more.
    """

    def __init__(
        self,
        clock: IReactorTime,
        timeouts: ClientTimeouts,
        limits: ClientLimits,
        closed: Callable[[str], None] = lambda _site: None,
    ) -> None:
        self._closed = closed
        self._clock = clock
        self._timeouts = timeouts
        self._limits = limits
        # Since when each is idle, the oldest first; and the same by site, the youngest last.
        self._idle: dict[ClientConnection, float] = {}
        self._sites: dict[str, list[ClientConnection]] = {}
        self._leaving: set[ClientConnection] = set()
        self._timer: IDelayedCall | None = None
        self._stopping: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def take(
        self,
        site: str,
        policy: TlsPolicy = DEFAULT_POLICY,
        login: Login | None = None,
        place: tuple[str, int] | None = None,
    ) -> ClientConnection | None:
        """
        An idle connection to `site` that may carry mail with this policy, as from who we are there, or None.

        `place` is the name and the port of the one server of the site that will do, None for any.

        The youngest: what is not needed grows old and leaves.
        """
        for connection in reversed(tuple(self._sites.get(site, ()))):
            if not connection.meets(policy, login) or place not in (None, connection.place):
                continue
            self._remove(connection)
            if connection.is_ready and not self._is_worn(connection):
                return connection
            self._dismiss(connection)
        return None

    def give(self, connection: ClientConnection) -> None:
        """Take back a connection that is ready for another transaction."""
        if self._stopping is not None or self._is_worn(connection):
            self._dismiss(connection)
            return
        self._idle[connection] = self._clock.seconds()
        self._sites.setdefault(connection.site, []).append(connection)
        if self._timer is None:
            self._timer = self._clock.callLater(self._timeouts.idle, self._sweep)

    def forget(self, connection: ClientConnection) -> None:
        """The connection is lost."""
        self._remove(connection)
        self._leaving.discard(connection)
        self._closed(connection.site)
        self._tell_if_gone()

    def left_open(self, site: str) -> int:
        """How many connections to a site are idle or about to close."""
        return len(self._sites.get(site, ())) + sum(connection.site == site for connection in self._leaving)

    def release(self, site: str) -> None:
        """Dismiss the idle connections to a site: another worker wants to talk to it."""
        for connection in tuple(self._sites.get(site, ())):
            self._remove(connection)
            self._dismiss(connection)

    def stop(self) -> Deferred[None]:
        """Dismiss all that are idle, from now on at once; fires when those that are idle now have gone."""
        if self._stopping is None:
            self._stopping = Deferred()
            for connection in list(self._idle):
                self._remove(connection)
                self._dismiss(connection)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._tell_if_gone()
        return self._stopping

    def _tell_if_gone(self) -> None:
        if self._stopping is not None and not (self._idle or self._leaving or self._stopping.called):
            self._stopping.callback(None)

    def _is_worn(self, connection: ClientConnection) -> bool:
        age = self._clock.seconds() - connection.since
        allowed = connection.offers.limits.mails  # RFC 9422 4.1: MAILMAX
        most = (
            self._limits.messages_per_connection
            if allowed is None
            else min(allowed, self._limits.messages_per_connection)
        )
        return connection.transactions >= most or age >= self._timeouts.lifetime

    def _remove(self, connection: ClientConnection) -> None:
        if self._idle.pop(connection, None) is None:
            return
        connections = self._sites[connection.site]
        connections.remove(connection)
        if not connections:
            del self._sites[connection.site]

    def _dismiss(self, connection: ClientConnection) -> None:
        self._leaving.add(connection)
        connection.quit()

    def _sweep(self) -> None:
        """Dismiss what has been idle too long; one timer serves all, for all may be idle equally long."""
        self._timer = None
        now = self._clock.seconds()
        for connection, since in list(self._idle.items()):
            left = since + self._timeouts.idle - now
            if left > 0:
                self._timer = self._clock.callLater(left, self._sweep)
                return
            self._remove(connection)
            self._dismiss(connection)

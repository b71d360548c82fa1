"""
The factory of a listener's connections.

Owns: the sessions of one listener, from its first connection to the end of the service.
Never: binds a port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime

from mta.address import Address
from mta.interfaces import IAuthentication, IQueue, IServerTls, ISpool
from mta.policy.clients import Networks
from mta.policy.limits import Connections, ServerLimits
from mta.policy.submitters import NO_LIMITS, Submitters
from mta.server.listener import Listener, Locate, Log, Policy
from mta.server.protocol import ServerProtocol
from mta.server.proxied import ProxiedProtocol
from mta.server.sessions import Sessions


class ServerFactory(protocol.ServerFactory):
    """
    Makes an SMTP session of each connection.

    `listener` is its name in the configuration, `proxies` are the networks of the peers that begin with a PROXY header,
    `xclient` those of the peers that may use XCLIENT; the other arguments are those of `mta.server.listener.Listener`.
    """

    noisy = False

    def __init__(
        self,
        *,
        hostname: str,
        listener: str,
        role: str,
        policy: Policy,
        limits: ServerLimits,
        connections: Connections,
        spool: ISpool,
        queue: IQueue,
        storage_room: Callable[[], bool],
        clock: IReactorTime,
        bare_newlines: str,
        normalize_networks: Networks,
        log: Log,
        reports_room: Callable[[Address, float], bool] = lambda _sender, _now: True,
        etrn_domains: Iterable[str] = (),
        locate: Locate | None = None,
        tls: IServerTls | None = None,
        implicit_tls: bool = False,
        handshake_timeout: float = 120.0,
        authentication: IAuthentication | None = None,
        auth_in_clear: bool = False,
        submitters: Submitters | None = None,
        hide_submitter: bool = False,
        proxies: Iterable[str] = (),
        xclient: Iterable[str] = (),
        requiretls: bool = False,
    ) -> None:
        self._listener = Listener(
            hostname=hostname,
            name=listener,
            role=role,
            policy=policy,
            limits=limits,
            connections=connections,
            spool=spool,
            queue=queue,
            storage_room=storage_room,
            clock=clock,
            bare_newlines=bare_newlines,
            normalize_networks=normalize_networks,
            log=log,
            reports_room=reports_room,
            etrn_domains=frozenset(etrn_domains),
            locate=locate,
            tls=tls,
            implicit_tls=implicit_tls,
            handshake_timeout=handshake_timeout,
            authentication=authentication,
            auth_in_clear=auth_in_clear,
            submitters=submitters or Submitters(NO_LIMITS, frozenset()),
            hide_submitter=hide_submitter,
            xclient=_networks(xclient),
            requiretls=requiretls,
        )
        self._sessions = Sessions(clock)
        self._proxies = _networks(proxies)

    @property
    def sessions(self) -> int:
        """How many connections are open."""
        return len(self._sessions)

    def buildProtocol(self, addr: IAddress | None) -> ServerProtocol | ProxiedProtocol:
        listener, sessions = self._listener, self._sessions
        if self._proxies is not None:
            peer = str(getattr(addr, "host", ""))  # a UNIX address has none
            # By the address alone: a header that was looked for in what strangers send would let them choose theirs.
            if self._proxies.contains(peer):
                return ProxiedProtocol(listener, sessions, peer, partial(ServerProtocol, listener, sessions))
        return ServerProtocol(listener, sessions)

    def stop(self) -> Deferred[None]:
        """
        Begin no new message: idle peers get 421 at once, the others when theirs is done. Fires when all are gone.

        The caller stops listening first, and calls `abort` when it has waited long enough.
        """
        return self._sessions.stop()

    def abort(self) -> None:
        """Give every peer 421 now; content that has not reached its end is forgotten."""
        self._sessions.abort()


def _networks(networks: Iterable[str]) -> Networks | None:
    """None for none: then nothing is looked up for a connection."""
    listed = tuple(networks)
    return Networks(listed) if listed else None

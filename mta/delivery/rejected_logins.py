"""
Credentials that a next hop rejected: nobody knocks on for a while, and an operator is told once.

Owns: that memory and that alarm.
Never: ends a message: what is wrong is our configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mta.delivery.connecting import Server
from mta.login import Login
from mta.outcome import Deferral, Phase, Scope

Note = Callable[[str, Mapping[str, str]], None]

# Servers lock an account after some failures; each message in the queue would be one.
PAUSE = 300.0


def is_rejection(why: Deferral) -> bool:
    """Whether a server was told who we are, and would not have us; `host` is None where no server was asked."""
    return why.phase is Phase.AUTH and why.scope is Scope.OURSELVES and why.host is not None


class RejectedLogins:
    """
    By host and port, whatever the addresses of the host: of several next hops of a route each has its own word.

    `note` writes a line into the log. Bounded by the configuration, which has the logins and the next hops.
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._rejected: dict[tuple[str, int, Login], tuple[float, Deferral]] = {}

    def why_not(self, server: Server, login: Login | None, now: float) -> Deferral | None:
        """Why a connection is not worth a try at `now` (seconds), or None."""
        if login is None:
            return None
        since, why = self._rejected.get((server.name, server.port, login), (now, None))
        return why if since <= now < since + PAUSE else None

    def concluded(self, server: Server, login: Login | None, why: Deferral | None, now: float) -> None:
        """A connection came about, or `why` not."""
        if login is None:
            return
        key = (server.name, server.port, login)
        if why is None:
            self._rejected.pop(key, None)
        elif is_rejection(why):
            if key not in self._rejected:
                site = f"{server.name}:{server.port}"
                self._note("credentials-rejected", {"site": site, "user": login.user, "reason": why.reason})
            self._rejected[key] = (now, why)

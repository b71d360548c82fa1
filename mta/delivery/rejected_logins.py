"""
Credentials that a next hop rejected: nobody knocks on for a while, and an operator is told once.

Owns: that memory and that alarm.
Never: ends a message: what is wrong is our configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mta.destination import Destination
from mta.outcome import Deferral, Phase, Scope

# Servers lock an account after some failures; each message in the queue would be one.
PAUSE = 300.0


class RejectedLogins:
    """`note` writes a line into the log. Bounded by the configuration, which has the logins."""

    def __init__(self, note: Callable[[str, Mapping[str, str]], None]) -> None:
        self._note = note
        self._rejected: dict[tuple[str, str], tuple[float, Deferral]] = {}

    def why_not(self, destination: Destination, now: float) -> Deferral | None:
        """Why a connection is not worth a try at `now` (seconds), or None."""
        login = destination.login
        if login is None:
            return None
        since, why = self._rejected.get((destination.site, login.user), (now, None))
        return why if since <= now < since + PAUSE else None

    def concluded(self, destination: Destination, why: Deferral | None, now: float) -> None:
        """A connection came about, or `why` not."""
        login = destination.login
        if login is None:
            return
        key = (destination.site, login.user)
        if why is None:
            self._rejected.pop(key, None)
        elif why.phase is Phase.AUTH and why.scope is Scope.OURSELVES:
            if key not in self._rejected:
                self._note("credentials-rejected", {"site": destination.site, "user": login.user, "reason": why.reason})
            self._rejected[key] = (now, why)

"""
The open sessions of a listener.

Owns: the set of them, the one timer that looks for idle ones, the order of stopping.
Never: knows the protocol.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

# Seconds between two looks at all sessions: one timer, and not one for each of ten thousand idle connections.
SWEEP = 1.0


class Session(Protocol):
    """What is asked of a session."""

    def look_at_clock(self, now: float) -> None:
        """Close the connection if its peer has been silent, or deaf, for too long; `now` in seconds."""

    def finish(self) -> None:
        """Close the connection now if no message is under way, else as soon as that is done."""

    def abort(self) -> None:
        """Close the connection now."""


class Sessions:
    """A session joins when its connection is made and leaves when it is lost."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._open: set[Session] = set()
        self._sweep: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []
        self.stopping = False

    def __len__(self) -> int:
        return len(self._open)

    def join(self, session: Session) -> None:
        self._open.add(session)
        if self._sweep is None:
            self._sweep = self._clock.callLater(SWEEP, self._look)

    def leave(self, session: Session) -> None:
        self._open.discard(session)
        if self._open:
            return
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def stop(self) -> Deferred[None]:
        """Let sessions finish the message that is under way and begin no other; fires when the last one has left."""
        self.stopping = True
        for session in tuple(self._open):
            session.finish()
        stopped: Deferred[None] = Deferred()
        if self._open:
            self._waiting.append(stopped)
        else:
            stopped.callback(None)
        return stopped

    def abort(self) -> None:
        """Close all connections now."""
        self.stopping = True
        for session in tuple(self._open):
            session.abort()

    def _look(self) -> None:
        self._sweep = self._clock.callLater(SWEEP, self._look)
        now = self._clock.seconds()
        for session in tuple(self._open):
            session.look_at_clock(now)

"""
One message of an archive that an operator hands in over the control socket.

Owns: the words of a `queue.import` request, and the way of its content into the spool: as it is, for it was completed
and traced where it first arrived.
Never: reads the socket or an archive.
Fails: ValueError for bad words, `SpoolError` from the spool.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from mta.entry import Entry
from mta.envelope import Origin
from mta.history import History, history_from
from mta.interfaces import IReceiving


def told_history(words: Mapping[str, object], by: str, at: float) -> History:
    """The history that a request tells: `archive`, `message`; its `size` is read before. Raises ValueError."""
    unknown = set(words) - {"archive", "message", "size"}
    if unknown:
        raise ValueError(f"unknown word {', '.join(sorted(unknown))}")
    message = words.get("message")
    if not isinstance(message, dict):
        raise ValueError("message must be an object")
    return history_from(words.get("archive"), message, by, at)


class Arrival:
    """One message on its way into the spool; the same face as `Submission`."""

    # It is due when it was, which may be later.
    may_be_claimed = False

    def __init__(self, history: History, receiving: IReceiving) -> None:
        self._history = history
        self._receiving = receiving

    def write(self, data: bytes) -> Deferred[None] | None:
        """Take the next bytes of content; a Deferred asks to wait, as in `IReceiving.write`."""
        return self._receiving.write(data) if data else None

    def commit(self, claim: bool) -> Deferred[Entry]:
        """Store it; the Deferred fires once it is durable."""
        history = self._history
        origin = Origin(client=history.by, listener="import", protocol="local")
        return self._receiving.commit(history.envelope(), origin, history.arrived, claim)

    def abort(self) -> None:
        """Forget it."""
        self._receiving.abort()

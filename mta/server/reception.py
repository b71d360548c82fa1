"""
A message on its way from a session into the spool.

Owns: the trace field in front of the content, the count of hops.
Never: judges the content, answers the peer.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from mta.entry import Entry
from mta.envelope import Envelope, Origin
from mta.interfaces import ISpool
from mta.message.headers import HopCounter


class Reception:
    """One message, from the reply to DATA until it is committed or aborted; `trace` is its Received field."""

    __slots__ = ("_hops", "_receiving", "_trace", "queue_id")

    def __init__(self, spool: ISpool, queue_id: int, trace: bytes) -> None:
        self.queue_id = queue_id
        self._receiving = spool.receive(queue_id)
        self._hops = HopCounter()
        self._trace = trace

    @property
    def hops(self) -> int:
        """How many Received fields the content came with."""
        return self._hops.hops

    def write(self, content: bytes) -> Deferred[None] | None:
        """Store the next octets; a Deferred says when there is room for more. The first call takes the trace along."""
        if not self._hops.finished:
            self._hops.feed(content)
        if self._trace:
            content, self._trace = self._trace + content, b""
        return self._receiving.write(content) if content else None

    def commit(self, envelope: Envelope, origin: Origin, now: float, claim: bool) -> Deferred[Entry]:
        """Make it durable, as `mta.interfaces.IReceiving.commit` says."""
        return self._receiving.commit(envelope, origin, now, claim)

    def abort(self) -> None:
        self._receiving.abort()

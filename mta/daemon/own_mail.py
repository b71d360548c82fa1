"""
Put a message of our own making into the queue, other than a bounce.

Owns: the way of such a message: its id, one commit, and the word to the queue, as for one that a user hands in.
Never: writes the message.
Fails: the Deferred fails with `SpoolError`: nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from mta.address import Address
from mta.envelope import Envelope, Notify, Origin, Recipient
from mta.ids import spell
from mta.interfaces import IQueue, ISpool
from mta.spool.errors import SpoolError


class OwnMail:
    """`hostname` is ours; `room` tells whether the disk has room for new mail, `seconds` is a clock."""

    def __init__(
        self, spool: ISpool, queue: IQueue, *, hostname: str, room: Callable[[], bool], seconds: Callable[[], float]
    ) -> None:
        self._spool = spool
        self._queue = queue
        self._hostname = hostname
        self._room = room
        self._seconds = seconds

    def send_tls_report(self, sender: Address, to: Address, make: Callable[[str], bytes]) -> Deferred[str]:
        """A report on TLS: `make` writes it, given its queue id. Fires with that id once it is durable."""
        return Deferred.fromCoroutine(self._send(sender, to, make))

    async def _send(self, sender: Address, to: Address, make: Callable[[str], bytes]) -> str:
        if not self._room():
            raise SpoolError("the disk of the queue is nearly full")
        message = self._queue.new_id()
        text = spell(message)
        receiving = self._spool.receive(message)
        receiving.write(make(text))
        # RFC 5321 4.5.5: it is no notification, so it has a sender; but nobody is to be told of its failure.
        recipient = Recipient(to, frozenset((Notify.NEVER,)))
        envelope = Envelope(sender, (recipient,), tls_report=True)
        claim = self._queue.wants_claim()
        try:
            entry = await receiving.commit(
                envelope, Origin("", self._hostname, "", "tls-report"), self._seconds(), claim
            )
        except SpoolError:
            receiving.abort()
            raise
        self._queue.accepted(entry, claim)
        return text

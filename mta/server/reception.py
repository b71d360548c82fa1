"""
A message on its way from a session into the spool.

Owns: the trace field in front of the content, counting hops and how deep parts are nested, completing what a mail
program handed in.
Never: judges the content, answers the peer.
"""

from __future__ import annotations

import errno
from dataclasses import replace

from twisted.internet.defer import Deferred

from mta.encryption import Encryption
from mta.entry import Entry
from mta.envelope import Envelope, Origin, RequireTls
from mta.ids import spell
from mta.interfaces import ISpool
from mta.message.completion import Completion
from mta.message.headers import HopCounter
from mta.message.mime_depth import MimeDepth
from mta.message.trace import received
from mta.policy.limits import ServerLimits
from mta.reply import Reply
from mta.server.listener import Listener
from mta.smtp import message_replies, replies
from mta.smtp.server import ServerSession

# How SQLite says SQLITE_FULL, which sqlite3 hands on as text.
_FULL = "disk is full"


class Reception:
    """
    One message, from the reply to DATA or its first chunk until it is committed or aborted.

    `trace` is its Received field; no limit counts that. `completion` adds the fields that a submitted message
    lacks, None adds nothing.
    """

    __slots__ = ("_completion", "_depth", "_hops", "_receiving", "_trace", "queue_id")

    def __init__(
        self, spool: ISpool, queue_id: int, trace: bytes, limits: ServerLimits, completion: Completion | None
    ) -> None:
        self.queue_id = queue_id
        self._receiving = spool.receive(queue_id)
        self._hops = HopCounter(limits.header_size)
        self._depth = MimeDepth(limits.mime_depth)
        self._trace = trace
        self._completion = completion

    @property
    def hops(self) -> int:
        """How many Received fields the content came with."""
        return self._hops.hops

    @property
    def header_too_large(self) -> bool:
        """Whether the header was not over after so many octets as it may have."""
        return self._hops.too_long

    @property
    def too_deep(self) -> bool:
        """Whether its parts are nested deeper than they may be."""
        return self._depth.too_deep

    def write(self, content: bytes) -> Deferred[None] | None:
        """Store the next octets; a Deferred says when there is room for more. The first call takes the trace along."""
        if not self._hops.finished:
            self._hops.feed(content)
        if not self._depth.finished:
            self._depth.feed(content)
        if self._completion is not None:
            content = self._completion.feed(content)
        return self._store(content)

    def commit(self, envelope: Envelope, origin: Origin, now: float, claim: bool) -> Deferred[Entry]:
        """Make it durable, as `mta.interfaces.IReceiving.commit` says."""
        if self._completion is not None:
            self._store(self._completion.finish())
        if self._hops.tls_not_required and envelope.require_tls is None:  # RFC 8689 4.1: REQUIRETLS counts before it
            envelope = replace(envelope, require_tls=RequireTls.NO)
        return self._receiving.commit(envelope, origin, now, claim)

    def abort(self) -> None:
        self._receiving.abort()

    def _store(self, content: bytes) -> Deferred[None] | None:
        if self._trace:
            content, self._trace = self._trace + content, b""
        return self._receiving.write(content) if content else None


def receive(
    listener: Listener,
    client: str,
    session: ServerSession,
    envelope: Envelope,
    encryption: Encryption | None,
    name: str | None = None,
) -> Reception:
    """
    Make a place in the spool for the message that a session has under way.

    `client` is the client's address, `name` the host name that a proxy vouches for.
    """
    queue_id = listener.queue.new_id()
    recipients = envelope.recipients
    # RFC 5321 7.2: with several recipients, none may learn of the others. A name beyond ASCII stays out.
    only = recipients[0].address if len(recipients) == 1 and not recipients[0].address.needs_utf8 else None
    now = listener.clock.seconds()
    hidden = listener.hide_submitter and session.identity is not None
    trace = received(
        helo="" if hidden else session.helo,
        client_ip="" if hidden else client,
        client_name=None if hidden else name,
        by=listener.hostname,
        protocol=session.protocol,
        queue_id=spell(queue_id),
        recipient=only,
        at=now,
        tls="" if encryption is None else f"{encryption.version} {encryption.cipher}",
    )
    completion = listener.completion(envelope.sender, queue_id, now)
    return Reception(listener.spool, queue_id, trace, listener.limits, completion)


def described(encryption: Encryption | None) -> dict[str, str]:
    """What the event of an accepted message tells of the TLS that it came through."""
    if encryption is None:
        return {}
    told = {"tls": encryption.version, "cipher": encryption.cipher}
    return {**told, "certificate": encryption.certificate} if encryption.certificate else told


def apology(fault: BaseException | None) -> Reply:
    """What the peer is told of a fault of the spool: try again later, and where it is so, that there is no room."""
    return message_replies.DISK_FULL.reply if _is_full(fault) else replies.FAULT.reply


def _is_full(fault: BaseException | None) -> bool:
    """Whether a fault of the spool, or what caused it, is that the disk is full."""
    while fault is not None:
        if (isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT)) or _FULL in str(fault):
            return True
        fault = fault.__cause__
    return False

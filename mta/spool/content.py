"""
Content on its way into the spool and out of it.

Owns: cutting content into chunks, the flow control of both directions, staging of what is larger than one chunk.
Never: holds more than a few chunks of a message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.address import Address
from mta.entry import SMALL, Entry, QueuedRecipient
from mta.envelope import Envelope, Origin
from mta.interfaces import IContent, IReceiving
from mta.spool import chunks, rules, storing
from mta.spool.commit import Brief
from mta.spool.errors import SpoolDamageError
from mta.spool.fresh import FreshContent
from mta.spool.schema import CHUNK_SIZE, SpoolConnection

T = TypeVar("T")

# Chunks of one message that may wait for the disk before its sender is paused: one being written, one behind it.
MAX_WAITING_CHUNKS = 2


class Submit(Protocol):
    """`ThreadedCommit.submit` and `InlineCommit.submit`."""

    def __call__(self, work: Callable[[SpoolConnection], T], /) -> Deferred[T]: ...


@implementer(IReceiving)
class Receiving:
    """
    A message that is arriving. Up to one chunk of it is held here and goes in with the commit; `also` is done there,
    for mail that no rule is for.
    """

    def __init__(
        self,
        message: int,
        worker: int,
        submit: Submit,
        stage: Submit,
        fresh: FreshContent,
        also: Callable[[SpoolConnection], None] | None = None,
    ) -> None:
        self.size = 0
        self._also = also
        self._fresh = fresh
        self._message = message
        self._worker = worker
        self._submit = submit
        self._stage = stage
        self._pieces: list[bytes] = []
        self._held = 0
        self._chunks = 0  # handed to the disk
        self._waiting = 0  # of these, not there yet
        self._resume: Deferred[None] | None = None
        self._fault: Failure | None = None
        self._ended = False

    def write(self, data: bytes) -> Deferred[None] | None:
        self.size += len(data)
        if self._fault is not None:
            return None
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= CHUNK_SIZE:
            self._store_full_chunks()
        if self._waiting < MAX_WAITING_CHUNKS:
            return None
        if self._resume is None:
            self._resume = Deferred()
        return self._resume

    def _store_full_chunks(self) -> None:
        held = b"".join(self._pieces)
        end = len(held) - len(held) % CHUNK_SIZE
        for start in range(0, end, CHUNK_SIZE):
            self._store_chunk(held[start : start + CHUNK_SIZE])
        self._pieces = [held[end:]]
        self._held = len(held) - end

    def _store_chunk(self, data: bytes) -> None:
        message, number = self._message, self._chunks
        self._chunks += 1
        self._waiting += 1
        self._fresh.keep(message, number, data)
        stored = self._stage(lambda database: chunks.stage_chunk(database, message, number, data))
        stored.addCallbacks(self._chunk_stored, self._chunk_failed)

    def _chunk_stored(self, _result: None) -> None:
        self._waiting -= 1
        resume, self._resume = self._resume, None
        if resume is not None:
            resume.callback(None)

    def _chunk_failed(self, fault: Failure) -> None:
        self._fault = self._fault or fault
        self._pieces = []
        self._chunk_stored(None)

    def commit(self, envelope: Envelope, origin: Origin, now: float, claim: bool) -> Deferred[Entry]:
        self._ended = True
        content = b"".join(self._pieces)
        self._pieces = []
        if self._fault is not None:
            self._drop_chunks()
            return fail(self._fault)
        message, size, number, worker = self._message, self.size, self._chunks, self._worker if claim else None
        if not claim:
            self._fresh.forget(message)
        elif content and size > SMALL:
            self._fresh.keep(message, number, content)
        also = self._also
        accepted = storing.accepted_event(message, now, envelope, origin, size)

        def work(database: SpoolConnection) -> Collection[Address]:
            storing.insert_message(database, message, now, envelope, size, worker)
            if number:
                chunks.adopt_chunks(database, message, number, content)
            elif content:
                chunks.insert_chunk(database, message, number, content)
            storing.write_events(database, (accepted,))
            if also is not None:
                also(database)
                return ()
            return rules.apply(database, message, now, envelope, size, claimed=claim) if database.rules else ()

        def without(held: Collection[Address]) -> Entry:
            if held:
                entry.recipients = [each for each in entry.recipients if each.address not in held]
            return entry

        entry = Entry(
            message,
            now,
            envelope.sender,
            size,
            envelope.body,
            [
                QueuedRecipient(recipient.address, 0, now, recipient.notify, recipient.orcpt, named=recipient.named)
                for recipient in envelope.recipients
            ],
            content if size <= SMALL else None,
            envelope.utf8,
            envelope.ret,
            envelope.envid,
            envelope.expanded,
            envelope.require_tls,
            envelope.tls_report,
        )
        committed = self._submit(Brief(work) if size <= SMALL else work).addCallback(without)
        if size > SMALL:
            committed.addErrback(self._commit_failed)
        return committed

    def _commit_failed(self, fault: Failure) -> Failure:
        self._drop_chunks()
        return fault

    def abort(self) -> None:
        if not self._ended:
            self._ended = True
            self._pieces = []
            self._drop_chunks()

    def _drop_chunks(self) -> None:
        message = self._message
        self._fresh.forget(message)
        if self._chunks:
            dropped = self._submit(lambda database: chunks.drop_chunks(database, message))
            dropped.addErrback(lambda _fault: None)  # what stays is swept at the next start


@implementer(IContent)
class StoredContent:
    """
    The content of an entry, from memory where it is fresh, else read chunk by chunk.

    `damaged` is told why a chunk can't be read, where asking again would be of no use.
    """

    def __init__(self, entry: Entry, read: Submit, damaged: Callable[[str], None], fresh: FreshContent) -> None:
        self.size = entry.size
        self._fresh = fresh
        self._damaged = damaged
        self._message = entry.message
        self._content = entry.content
        self._read = read

    def whole(self) -> bytes | None:
        return self._content

    def chunk(self, index: int) -> Deferred[bytes]:
        if self._content is not None:
            return succeed(self._content if index == 0 else b"")
        message, size = self._message, self.size
        fresh = self._fresh.chunk(message, index)
        if fresh is not None:
            return succeed(fresh)

        def work(database: SpoolConnection) -> bytes:
            return chunks.read_chunk(database, message, index, size)

        return self._read(work).addErrback(self._not_read)

    def _not_read(self, fault: Failure) -> Failure:
        if fault.check(SpoolDamageError):
            self._damaged(f"its content can't be read: {fault.value}")
        return fault

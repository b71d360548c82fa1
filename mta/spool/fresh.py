"""
Content that has just come in, kept for the attempt that follows at once.

Owns: how much is kept in all and of one message.
Never: is the only place of anything: what is not here stands in the spool.
"""

from __future__ import annotations

from mta.spool.schema import CHUNK_SIZE

# Octets in all: messages of 1 MB from 20 sessions at once, and those of them that are on their way out.
ROOM = 32 * 1024 * 1024
# A message with more chunks than this takes so long to arrive that reading it back is no great part of it.
MOST_CHUNKS = 4 * 1024 * 1024 // CHUNK_SIZE


class FreshContent:
    """
    The chunks of messages, from the first one on.

    What has no room is not kept, and with it nothing else of its message: those that are here are the first to leave.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._chunks: dict[int, list[bytes]] = {}

    def keep(self, message: int, number: int, data: bytes) -> None:
        """Keep chunk `number` of a message, where those before it are here and there is room."""
        chunks = self._chunks.get(message, [])
        if number != len(chunks):
            return
        if number == MOST_CHUNKS or len(data) > self._room:
            self.forget(message)
            return
        chunks.append(data)
        self._chunks[message] = chunks
        self._room -= len(data)

    def chunk(self, message: int, number: int) -> bytes | None:
        """The chunk, None where it is not here."""
        chunks = self._chunks.get(message, ())
        return chunks[number] if number < len(chunks) else None

    def forget(self, message: int) -> None:
        """Keep nothing of a message any more."""
        self._room += sum(map(len, self._chunks.pop(message, ())))

"""
The statements on content, chunk by chunk. Each function runs inside a transaction of its caller.

Owns: which chunk stands where: the first one in the database, for those who look at the header; those behind it in a
file, where there is a folder for that.
Never: begins or ends a transaction; imports Twisted.
"""

from __future__ import annotations

from mta.ids import worker_of
from mta.spool.errors import SpoolDamageError, SpoolError
from mta.spool.schema import CHUNK_SIZE, SpoolConnection


def insert_chunk(database: SpoolConnection, message: int, number: int, data: bytes) -> None:
    """One chunk of content."""
    database.execute("INSERT INTO chunks (message, number, data) VALUES (?, ?, ?)", (message, number, data))


def stage_chunk(database: SpoolConnection, message: int, number: int, data: bytes) -> None:
    """One chunk of a message that is still arriving; `adopt_chunks`, `drop_chunks` or `sweep_staged` ends that."""
    if number and database.content is not None:
        database.content.write(message, number, data)
        return
    # With each of them, for the first one may have failed.
    database.execute("INSERT OR IGNORE INTO staged (message) VALUES (?)", (message,))
    insert_chunk(database, message, number, data)


def adopt_chunks(database: SpoolConnection, message: int, number: int, rest: bytes) -> None:
    """
    Make the `number` chunks that were staged, and the `rest` behind them, part of a message that is committed.

    Raises `SpoolError` where one is missing: the disk may have been full for a chunk and not for the rest.
    """
    database.execute("DELETE FROM staged WHERE message = ?", (message,))
    (found,) = database.execute("SELECT count(*) FROM chunks WHERE message = ?", (message,)).fetchone()
    files = database.content
    expected = number if files is None else 1
    if found != expected:
        raise SpoolError(f"spool: {expected - found} of {number} chunks of the content could not be written")
    if files is None:
        if rest:
            insert_chunk(database, message, number, rest)
        return
    if rest:
        files.write(message, number, rest)
    octets = (number - 1) * CHUNK_SIZE + len(rest)
    if octets:
        # Before the commit that makes the message exist.
        files.secure(message, octets)


def drop_chunks(database: SpoolConnection, message: int) -> None:
    """Forget what was staged of a message that is not committed."""
    database.execute("DELETE FROM staged WHERE message = ?", (message,))
    database.execute("DELETE FROM chunks WHERE message = ?", (message,))
    database.gone.append(message)


def sweep_staged(database: SpoolConnection, worker: int | None = None) -> None:
    """
    Drop what was arriving when `worker`, or whoever there was, died: nobody was told that we have it.

    So is the file of a message that was gone already.
    """
    staged = [message for (message,) in database.execute("SELECT message FROM staged")]
    for message in staged:
        if worker is None or worker_of(message) == worker:
            drop_chunks(database, message)
    for message in database.content.messages() if database.content is not None else ():
        if worker is None or worker_of(message) == worker:
            known = database.execute("SELECT 1 FROM messages WHERE id = ?", (message,)).fetchone()
            if known is None:
                database.gone.append(message)


def read_chunk(database: SpoolConnection, message: int, number: int, size: int) -> bytes:
    """One chunk of content that has `size` octets in all, b"" behind the last. Raises `SpoolDamageError`."""
    row = database.execute("SELECT data FROM chunks WHERE message = ? AND number = ?", (message, number)).fetchone()
    if row is not None:
        return bytes(row[0])
    octets = min(size - number * CHUNK_SIZE, CHUNK_SIZE)
    if octets <= 0:
        return b""
    if number == 0 or database.content is None:
        raise SpoolDamageError(f"spool: chunk {number} of the content is missing")
    return database.content.read(message, number, octets)

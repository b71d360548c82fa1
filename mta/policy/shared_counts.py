"""
Count what is limited over all worker processes, in memory that they share.

Owns: the layout of that memory, its locks, and how workers that wait for the same places share them.
Never: knows what is counted; trusts a worker to live: what a dead one held is wiped by who started it.

A key is found by a keyed digest of 64 bits in a bucket of 16 rows: the key is random, so nobody can choose clients
that fall into one bucket. A lock of the kernel on the number of the bucket, which dies with its process, makes each
step one. Places need it for the first of a key alone: a row in which a worker has a place is nobody else's to use
again, and nobody else writes to its word.
To take and leave a place costs 1.3 us, the first of a key 4.6 us, a rate 6 us.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from threading import Lock

from mta.policy.rates import MAX_CLIENTS, MINUTE

# Rows in a bucket, and rows for each key that may be counted at once: so wide that a full bucket is a matter of
# centuries (an eighth full, one of 16 overflows with a chance of 1e-10).
_BUCKET = 16
_ROOM = 8

_WORD = 8
_HEADER = 8  # words: two of key, columns, buckets of places, buckets of rates
# Milliseconds for which the word of a worker that it waits is believed.
_WAITS = 1000
_LOW = 0xFFFFFFFF


class SharedCounts:
    """
    The counts in the memory behind `descriptor`, as the worker of `column` sees them.

    `seconds` must be a clock that all workers share, whatever is done to the time of day.
    """

    def __init__(self, descriptor: int, column: int, seconds: Callable[[], float] = time.monotonic) -> None:
        self.descriptor = descriptor
        self._words = memoryview(mmap.mmap(descriptor, 0)).cast("Q")
        self._key = bytes(self._words[:2].cast("B"))
        columns, places, rates = self._words[2:5]
        if not 0 <= column < columns:
            raise ValueError(f"there are {columns} columns, and none of them is {column}")
        self._columns = columns
        self._column = column
        self._seconds = seconds
        self._places = _Table(self._words, descriptor, _HEADER, places, 2 + columns, 0)
        self._rates = _Table(self._words, descriptor, self._places.end, rates, 4, places)
        self._kinds: dict[str, SharedPlaces] = {}

    @classmethod
    def make(cls, columns: int, keys: int) -> int:
        """
        New memory for `columns` workers and `keys` keys with places taken at once; its descriptor, not inheritable.
        """
        places, rates = _buckets(keys * _ROOM), _buckets(MAX_CLIENTS * 4 * 2)
        words = _HEADER + _BUCKET * (places * (2 + columns) + rates * 4)
        descriptor = os.memfd_create("mta-counts", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, words * _WORD)
        with mmap.mmap(descriptor, 0) as memory, memoryview(memory).cast("Q") as header:
            with header[:2].cast("B") as key:
                key[:] = os.urandom(16)
            header[2], header[3], header[4] = columns, places, rates
        return descriptor

    def places(self, kind: str) -> SharedPlaces:
        made = self._kinds.get(kind)
        if made is None:
            digest = self._digest(kind)
            made = SharedPlaces(self._places, digest, self._columns, self._column, self._milliseconds)
            self._kinds[kind] = made
        return made

    def rates(self, kind: str, limit: int, period: float = MINUTE) -> SharedRates:
        return SharedRates(self._rates, self._digest(kind), limit, self._milliseconds, period)

    def wipe(self, column: int) -> None:
        """Forget all places of a worker that is dead."""
        for bucket in range(self._places.buckets):
            for row in self._places.rows(bucket):
                # Without the lock: nobody else writes to this word any more.
                if self._words[row + 2 + column]:
                    self._words[row + 2 + column] = 0

    def _digest(self, kind: str) -> Callable[[str], int]:
        begun = blake2b(f"{kind}\0".encode(), digest_size=8, key=self._key)

        def digest(key: str) -> int:
            hashed = begun.copy()
            hashed.update(key.encode("utf-8", "surrogateescape"))
            return int.from_bytes(hashed.digest(), "little") or 1  # 0 is a row that was never used

        return digest

    def _milliseconds(self) -> int:
        return int(self._seconds() * 1000)


def _buckets(rows: int) -> int:
    return max(1, -(-rows // _BUCKET))


class _Table:
    """Rows of `width` words from word `begin` on, the digest first. Locks are numbers of buckets."""

    def __init__(
        self, words: memoryview[int], descriptor: int, begin: int, buckets: int, width: int, first_lock: int
    ) -> None:
        self.words = words
        self.buckets = buckets
        self.end = begin + buckets * _BUCKET * width
        self._descriptor = descriptor
        self._begin = begin
        self._width = width
        self._first_lock = first_lock

    def rows(self, bucket: int) -> range:
        """The first word of each row in a bucket."""
        begin = self._begin + bucket * _BUCKET * self._width
        return range(begin, begin + _BUCKET * self._width, self._width)

    def find(self, digest: int) -> int | None:
        words = self.words
        for row in self.rows(digest % self.buckets):
            if words[row] == digest:
                return row
        return None

    @contextmanager
    def locked(self, digest: int) -> Iterator[None]:
        """Nobody else changes the bucket of a digest meanwhile."""
        lock = self._first_lock + digest % self.buckets
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, lock)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, lock)


class SharedPlaces:
    """
    `mta.policy.counts.Places` over all workers. A row: digest, who took last, and for each worker its count and, in the
    upper half of the word, when it last said that it waits.

    Who takes a place counts it first and looks then whether all together are within the limit. Of several that do so at
    once the last to look sees the counts of all, so never more than the limit stay; at the last place two may give way
    to each other, and they look again one after the other, with the lock.
    """

    has_rivals = True

    def __init__(
        self, table: _Table, digest: Callable[[str], int], columns: int, column: int, now: Callable[[], int]
    ) -> None:
        self._table = table
        self._digest = digest
        self._columns = columns
        self._column = column
        self._now = now
        # The rows of the keys that we have places of.
        self._rows: dict[str, int] = {}
        self._fence = Lock()

    def take(self, key: str, limit: int) -> bool:
        row = self._rows.get(key)
        if row is not None and self._table.words[row + 2 + self._column] & _LOW and self._take(row, limit):
            return True
        digest = self._digest(key)
        with self._table.locked(digest):
            row = self._table.find(digest)
            if row is None:
                row = self._free_row(digest)
                if row is None or limit <= 0:
                    return False
            if not self._take(row, limit):
                return False
        self._rows[key] = row
        return True

    def _take(self, row: int, limit: int) -> bool:
        """Take a place in a row that can't become another key's meanwhile."""
        words, first, mine = self._table.words, row + 2, row + 2 + self._column
        taken = words[first : first + self._columns].tolist()
        if sum(taken) > _LOW and not self._has_turn(row, limit):  # somebody waits, or has waited
            return False
        words[mine] = (taken[self._column] & _LOW) + 1  # and we wait no more
        with self._fence:  # what was written is seen by all processors before what follows is read
            pass
        if self._sum(row) > limit:
            words[mine] = taken[self._column]
            return False
        words[row + 1] = self._column + 1
        return True

    def leave(self, key: str) -> None:
        row, words = self._rows.get(key), self._table.words
        mine = -1 if row is None else row + 2 + self._column
        if mine < 0 or not words[mine] & _LOW:
            raise ValueError(f"no place of {key!r} is ours")
        if words[mine] & _LOW == 1:  # from then on the row may be another key's
            del self._rows[key]
        words[mine] -= 1

    def wait(self, key: str) -> None:
        digest, words = self._digest(key), self._table.words
        with self._table.locked(digest):
            row = self._table.find(digest)
            if row is not None:
                mine = row + 2 + self._column
                words[mine] = (self._now() & _LOW) << 32 | words[mine] & _LOW

    def wanted(self, key: str) -> bool:
        row = self._table.find(self._digest(key))
        return row is not None and any(waits for waits, _held in self._rivals(row))

    def taken(self, key: str) -> int:
        row = self._table.find(self._digest(key))
        return 0 if row is None else self._sum(row)

    def _sum(self, row: int) -> int:
        first = row + 2
        return sum([word & _LOW for word in self._table.words[first : first + self._columns]])

    def _has_turn(self, row: int, limit: int) -> bool:
        """Whether those who wait leave us this place: each gets its part, and where there are too few, its turn."""
        rivals = self._rivals(row)
        if not any(waits for waits, _held in rivals):
            return True
        words, sharers = self._table.words, 1 + sum(waits or held > 0 for waits, held in rivals)
        if limit < sharers:
            return words[row + 1] != self._column + 1
        mine: int = words[row + 2 + self._column] & _LOW
        return mine < -(-limit // sharers)

    def _rivals(self, row: int) -> list[tuple[bool, int]]:
        """Of each other worker, whether it waits and how many places it has."""
        now, words = self._now() & _LOW, self._table.words
        return [
            (word >> 32 > 0 and (now - (word >> 32)) & _LOW < _WAITS, word & _LOW)
            for column, word in enumerate(words[row + 2 : row + 2 + self._columns])
            if column != self._column
        ]

    def _free_row(self, digest: int) -> int | None:
        """A row of the bucket for a new digest: one where nobody has a place. None where there is none."""
        words = self._table.words
        for row in self._table.rows(digest % self._table.buckets):
            if not any(word & _LOW for word in words[row + 2 : row + 2 + self._columns]):
                for word in range(row + 1, row + 2 + self._columns):
                    words[word] = 0
                words[row] = digest
                return row
        return None


class SharedRates:
    """`mta.policy.rates.Rates` over all workers. A row: digest, when last seen, since when, counts of two periods."""

    def __init__(
        self, table: _Table, digest: Callable[[str], int], limit: int, now: Callable[[], int], period: float
    ) -> None:
        self._table = table
        self._digest = digest
        self._limit = limit
        self._period = int(period * 1000)
        self._now = now

    def take(self, client: str, count: int, now: float) -> bool:  # noqa: ARG002 (the workers' clocks may differ)
        """Count `count` more of a client where they are within the limit; whether they are."""
        return self._ask(client, count, counts=True)

    def has_room(self, client: str, count: int, now: float) -> bool:  # noqa: ARG002
        """Whether `take` would say yes."""
        return self._ask(client, count, counts=False)

    def _ask(self, client: str, count: int, counts: bool) -> bool:
        if not self._limit:
            return True
        digest, words, milliseconds = self._digest(client), self._table.words, self._now()
        with self._table.locked(digest):
            row = self._table.find(digest)
            if row is None:
                row = min(self._table.rows(digest % self._table.buckets), key=lambda row: words[row + 1])
                words[row], words[row + 2], words[row + 3] = digest, milliseconds, 0
            since, both = words[row + 2], words[row + 3]
            latest, before = both & _LOW, both >> 32
            minutes = (milliseconds - since) // self._period
            if minutes:
                latest, before = 0, latest if minutes == 1 else 0
                since = since + self._period if minutes == 1 else milliseconds
            estimate = latest + before * (1 - (milliseconds - since) / self._period)
            fits = estimate + count - 1 < self._limit
            words[row + 1], words[row + 2] = milliseconds, since
            words[row + 3] = before << 32 | (latest + count if fits and counts else latest)
            return fits

"""
The pairs that are in use, and what becomes of them when their files change.

Owns: reading them again, keeping the old one where the new one is bad, what the log says of that.
Never: makes a context; watches over their ends (`mta/tls/expiry.py`); takes a timer: it looks when it is asked, at most
every few seconds.
Fails: never; a pair that was never good is left out, and the log says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from twisted.logger import Logger

from mta.tls.pairs import Files, Pair, PairError, read

# Seconds between two looks at the files.
LOOK = 5.0

_State = tuple[tuple[int, int, int], ...] | None


@dataclass(slots=True)
class _Place:
    files: Files
    state: _State
    pair: Pair | None


class Certificates:
    """
    The pairs of some files, in their order; `seconds` is a clock.

    `before` are those of the configuration until now: what they have is good where the files have something bad.
    """

    _log = Logger()

    def __init__(
        self, files: Iterable[Files], seconds: Callable[[], float], before: Certificates | None = None
    ) -> None:
        self._seconds = seconds
        self._looked = seconds()
        self._places = [_Place(each, None, before.pair(each) if before is not None else None) for each in files]
        for place in self._places:
            self._read(place, _state(place.files))

    def pair(self, files: Files) -> Pair | None:
        """The pair of these files, if there is one."""
        return next((place.pair for place in self._places if place.files == files), None)

    @property
    def pairs(self) -> list[Pair]:
        """Those that can be used."""
        return [place.pair for place in self._places if place.pair is not None]

    def look(self) -> bool:
        """Read again what has changed; whether there is a new pair."""
        now = self._seconds()
        if 0 <= now - self._looked < LOOK:  # a clock that was set back counts as time gone by
            return False
        self._looked = now
        changed = [(place, state) for place in self._places if (state := _state(place.files)) != place.state]
        read = [self._read(place, state) for place, state in changed]
        return any(read)

    def _read(self, place: _Place, state: _State) -> bool:
        place.state = state
        try:
            pair = read(place.files)
        except PairError as error:
            kept = "what it was before is kept" if place.pair is not None else "there is none in its place"
            self._log.error("certificate {file}: {why}; {kept}", file=place.files.certificate, why=error, kept=kept)
            return False
        if place.pair is not None:
            self._log.info("certificate {file} was read again", file=place.files.certificate)
        place.pair = pair
        return True


def _state(files: Files) -> _State:
    """What tells a file from the one that was there before; None where one of the two is not there."""
    found = []
    for path in (files.certificate, files.key):
        try:
            status = path.stat()
        except OSError:
            return None
        found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)

"""
Watch over the ends of our certificates.

Owns: a look at the files at the start and once a day, the log line ``certificate-warning``, figures for `mta status`.
Never: has anything to do with handshakes (`mta/tls/certificates.py`): with several workers there is one watch.
Fails: never; a pair that can't be used is a line and a figure, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mta.tls.pairs import DAY, Files, Pair, PairError, read

Figure = dict[str, object]
_Looked = tuple[Files, Pair | PairError]


class ExpiryWatch:
    """
    Watches from `start` to `stop`; `note` writes a line of the log, files are read through `run_in_thread`.

    What it tells is what stands on the disk: where a new pair is bad, handshakes still have the one before.
    """

    _log = Logger()

    def __init__(
        self,
        files: Iterable[Files],
        *,
        clock: IReactorTime,
        run_in_thread: Callable[..., Deferred[Any]],
        note: Callable[[str, Mapping[str, str]], None],
    ) -> None:
        self._files = tuple(files)
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._note = note
        self._daily = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._daily.clock = clock

    def start(self) -> None:
        """Look now, and each day from now on."""
        self._daily.start(DAY)

    def stop(self) -> None:
        """Look no more."""
        if self._daily.running:
            self._daily.stop()

    def change_to(self, files: Iterable[Files]) -> None:
        """Watch over other files; the configuration has been read again, so it is a start."""
        self.stop()
        self._files = tuple(files)
        self.start()

    async def figures(self) -> list[Figure]:
        """
        For each pair its file, its names, when it ends in seconds since 1970, and the days until then, below 0 when it
        has; or why it can't be used.
        """
        now = self._clock.seconds()
        return [_figure(files, found, now) for files, found in await self._pairs()]

    async def _look(self) -> None:
        try:
            now = self._clock.seconds()
            for files, found in await self._pairs():
                for reason in (str(found),) if isinstance(found, PairError) else found.warnings(now):
                    self._note("certificate-warning", {"file": str(files.certificate), "reason": reason})
        except Exception:  # a loop that fails would never come round again
            self._log.failure("the certificates could not be looked at")

    def _pairs(self) -> Deferred[list[_Looked]]:
        return self._run_in_thread(_read, self._files)


def _read(files: Iterable[Files]) -> list[_Looked]:
    found: list[_Looked] = []
    for each in files:
        try:
            found.append((each, read(each)))
        except PairError as error:
            found.append((each, error))
    return found


def _figure(files: Files, found: Pair | PairError, now: float) -> Figure:
    if isinstance(found, PairError):
        return {"file": str(files.certificate), "problem": str(found)}
    days = round((found.expires - now) / DAY, 2)
    return {
        "file": str(files.certificate),
        "names": list(found.names),
        "expires": found.expires,
        "days_left": days,
    }

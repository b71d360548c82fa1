"""
The keys of the issuer, from its web server or from a file, as they are now.

Owns: how long keys are good for, and when they are looked for again.
Never: verifies anything.
Fails: `KeysUnavailable`, which is a fault of ours or of the issuer's, never of a token.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from mta.auth.credentials import NotNow
from mta.auth.jwks import Key, KeySetError, keys_in
from mta.interfaces import IWebClient
from mta.web import WebRequest

# A key that was withdrawn is gone after that.
FRESH = 3600.0
# While the issuer does not answer its last keys stay good for so long: as with a certificate's OCSP, a day is bearable.
STALE = 86_400.0
# A token with an invented key, which costs nothing, must not have us ask more often.
PAUSE = 60.0
TIMEOUT = 10.0


class KeysUnavailable(NotNow):
    """There are no keys to verify with now."""


class FileKeys:
    """A file; it is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    def current(self) -> Deferred[tuple[Key, ...]]:
        """The keys in the file."""
        try:
            there = self._path.stat()
            seen = there.st_ino, there.st_mtime_ns, there.st_size
            if seen != self._seen:
                self._keys = keys_in(self._path.read_bytes())
                self._seen = seen
        except OSError as error:
            raise KeysUnavailable(f"{self._path}: {error.strerror}") from None
        except KeySetError as error:
            raise KeysUnavailable(f"{self._path}: {error}") from None
        return succeed(self._keys)

    renewed = current


class WebKeys:
    """
    What a web server has.

    Those who ask while a request is under way wait for the same answer; one who gives up does not end it.
    """

    def __init__(self, web: IWebClient, url: str, seconds: Callable[[], float]) -> None:
        self._web = web
        self._url = url
        self._seconds = seconds
        self._keys: tuple[Key, ...] = ()
        self._fetched = self._asked = float("-inf")
        self._fault = ""
        self._waiting: list[Deferred[tuple[Key, ...]]] = []
        self._is_asking = False

    def current(self) -> Deferred[tuple[Key, ...]]:
        """The keys, fetched within the last hour if the server answers."""
        if self._seconds() - self._fetched < FRESH:
            return succeed(self._keys)
        return self._ask(usable=self._seconds() - self._fetched < STALE)

    def renewed(self) -> Deferred[tuple[Key, ...]]:
        """The keys for a token that was signed with none of the current ones."""
        return self._ask(usable=False)

    def _ask(self, *, usable: bool) -> Deferred[tuple[Key, ...]]:
        """Ask the server, where that is due; where it does not answer, what is there is good if it is `usable`."""
        waiting: Deferred[tuple[Key, ...]] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        if not self._is_asking:
            if self._seconds() - self._asked < PAUSE:
                self._answer()
            else:
                self._is_asking = True
                self._asked = self._seconds()
                request = WebRequest(self._url, headers=(("Accept", "application/json"),), timeout=TIMEOUT)
                self._web.ask(request).addCallback(self._took).addErrback(self._failed).addCallback(self._asked_it)
        if usable:
            waiting.addErrback(self._kept)
        return waiting

    def _took(self, answer: Any) -> None:
        if answer.status != 200:
            raise KeysUnavailable(f"{self._url} answered {answer.status}")
        try:
            self._keys = keys_in(answer.body)
        except KeySetError as error:
            raise KeysUnavailable(f"{self._url}: {error}") from None
        self._fetched, self._fault = self._seconds(), ""

    def _failed(self, failure: Failure) -> None:
        self._fault = str(failure.value)

    def _asked_it(self, _done: None) -> None:
        self._is_asking = False
        self._answer()

    def _answer(self) -> None:
        """Tell those who wait how the last request went."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if self._fault:
                each.errback(KeysUnavailable(self._fault))
            else:
                each.callback(self._keys)

    def _kept(self, failure: Failure) -> tuple[Key, ...]:
        failure.trap(KeysUnavailable)
        return self._keys

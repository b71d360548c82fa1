"""
Tables behind HTTPS: one GET for each key, and a JSON answer.

Owns: the URL of a key, and what an answer means: 200 with a value, 404 no such entry, all else "could not ask".
Never: connects (`IWebClient` does), follows a redirect.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.interfaces import ITable, IWebClient
from mta.table import CouldNotAsk, Found, Value
from mta.tables.backend import MAX_VALUES, parts
from mta.web import WebAnswer, WebRequest


@implementer(ITable)
class WebTable:
    """
    `url` has ``{key}``, ``{local}`` or ``{domain}``, which are percent-encoded; `timeout` in seconds.

    The answer is a text, a list of texts, or an object with one of them as "value".
    """

    def __init__(self, url: str, client: IWebClient, timeout: float, name: str) -> None:
        self._url = url
        self._client = client
        self._timeout = timeout
        self._name = name

    def lookup(self, key: str) -> Deferred[Found]:
        url = self._url
        for mark, text in parts(key).items():
            url = url.replace(f"{{{mark}}}", quote(text, safe=""))  # braces in a key are encoded: no mark is made anew
        request = WebRequest(url, headers=(("Accept", "application/json"),), timeout=self._timeout)
        asked: Deferred[Found] = self._client.ask(request).addCallback(self._read)
        return asked.addErrback(self._failed)

    def close(self) -> None:
        """Each request has a connection of its own."""

    def _read(self, answer: WebAnswer) -> Found:
        if answer.status == 404:
            return None
        if answer.status != 200:
            return CouldNotAsk(f"{self._name}: answered {answer.status}")
        try:
            return _value(json.loads(answer.body))
        except (ValueError, RecursionError) as error:
            return CouldNotAsk(f"{self._name}: {error}")

    def _failed(self, fault: Failure) -> CouldNotAsk:
        return CouldNotAsk(f"{self._name}: {fault.value}")


def _value(found: object) -> Value | None:
    if isinstance(found, dict):
        if "value" not in found:
            raise ValueError('the answer has no "value"')
        found = found["value"]
    items = found if isinstance(found, list) else [found]
    if len(items) > MAX_VALUES or not all(isinstance(item, str) for item in items):
        raise ValueError("the answer must be a text or a list of texts")
    return tuple(items) or None

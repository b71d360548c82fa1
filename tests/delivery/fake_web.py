"""A client of web servers that gives the answers of a test."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mta.interfaces import IWebClient
from mta.web import WebAnswer, WebRequest


@implementer(IWebClient)
class FakeWeb:
    """Answers with `answer`, at once; fails with it where it is an exception."""

    def __init__(self) -> None:
        self.requests: list[WebRequest] = []
        self.answer: WebAnswer | Exception = WebAnswer(204, ("",), b"")

    def ask(self, request: WebRequest) -> Deferred[WebAnswer]:
        self.requests.append(request)
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)

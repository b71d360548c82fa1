"""
A request to a web server and what came of it.

Owns: these values, that those who ask and the client (`mta/tls/https.py`) share.
Never: connects; knows what an answer means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

# Seconds for all of a request, unless it says otherwise.
TIMEOUT = 60.0
# Octets of the body of an answer.
LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class WebRequest:
    """
    A request to an https:// URL, or http:// where the client does that.

    `limit` is how many octets the body of the answer may have, `timeout` seconds in all.

    What is sent may be secret: it stands in no repr.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    limit: int = LIMIT
    timeout: float = TIMEOUT


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """A whole answer: no redirect was followed, and nothing came from a cache. `types` are its Content-Type fields."""

    status: int
    types: tuple[str, ...]
    body: bytes = field(repr=False)

    @property
    def media_type(self) -> str:
        """The media type without its parameters, in lower case; "" where there is not just one."""
        return self.types[0].partition(";")[0].strip().lower() if len(self.types) == 1 else ""


class WebFault(Enum):
    """What kept a request from its answer."""

    NO_ANSWER = "no answer"
    CERTIFICATE = "certificate"
    TOO_LARGE = "too large"


class WebError(Exception):
    """There is no whole answer; its text is a sentence for the log that shows nothing of the request but the host."""

    def __init__(self, reason: str, fault: WebFault = WebFault.NO_ANSWER) -> None:
        super().__init__(reason)
        self.fault = fault

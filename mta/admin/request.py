"""
A request of the control socket: its one line, and the error it gets when it is bad.

Owns: the JSON of a request, and the exit code (sysexits) that an error carries to the command.
Never: knows what the commands do.
Fails: `RequestError`, for any bytes that are no request.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

Words = dict[str, object]
Row = dict[str, object]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class RequestError(Exception):
    """Why a request is refused, in words for the person, and the exit code for the command."""

    def __init__(self, text: str, code: int = os.EX_USAGE) -> None:
        super().__init__(text)
        self.code = code

    def row(self) -> Row:
        """The last line of the answer."""
        return {"ok": False, "error": str(self), "exit": self.code}


def parse_request(line: bytes) -> tuple[str, Words]:
    """The command and its words. Raises `RequestError`."""
    try:
        words = json.loads(line)
    except (ValueError, RecursionError):
        raise RequestError("the request is not JSON") from None
    if not isinstance(words, dict) or not isinstance(words.get("command"), str):
        raise RequestError('the request is not an object with a "command"')
    return cast("str", words.pop("command")), words


def checked(check: Callable[_P, _T], *arguments: _P.args, **keywords: _P.kwargs) -> _T:
    """What `check` makes of the words; `RequestError` where it raises ValueError."""
    try:
        return check(*arguments, **keywords)
    except ValueError as error:
        raise RequestError(str(error)) from None


def render(rows: list[Row]) -> bytes:
    """Rows as lines. ASCII only: what a peer once wrote into a reply can't reach a terminal as it is."""
    return b"".join(json.dumps(row).encode("ascii") + b"\n" for row in rows)

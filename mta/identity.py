"""
Who a client has proved to be, and the steps of the conversation in which it does.

Owns: these values, that the session, the mechanisms and the policies share.
Never: checks anything.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A user who has authenticated: `user` is its name as it is compared and logged.

    `senders` is what it may send as, beside its own name: "alice@example.org", "@example.org" for all of a domain, "*".
    """

    user: str
    senders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Challenge:
    """
    The conversation goes on: send `data`, and hand over the response.

    `refused` where the credentials are wrong, `data` tells the client why, and any response ends in the same `Refused`
    (RFC 7628 3.2.3).
    """

    data: bytes = b""
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """The client is this one."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class Refused:
    """
    The credentials are wrong. `reason` and `user`, "" where it is not known, are for the log, not for the client.

    `status` is what a mechanism that tells the client why may say, "" for the usual.
    """

    reason: str
    user: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Malformed:
    """What the client sent is no message of the mechanism; `reason` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """It can't be said now; `reason` is for the log."""

    reason: str


Step = Challenge | Granted | Refused | Malformed | Unavailable

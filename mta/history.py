"""
What a message has behind it that comes from another queue.

Owns: the value, and its words in an archive.
Never: reads an archive (`mta/archive.py`) or a spool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mta.address import Address, AddressError, parse_address
from mta.entry import State
from mta.envelope import Body, Envelope, Recipient
from mta.ids import parse_id

_STATES = (State.QUEUED, State.HELD, State.QUARANTINED)


@dataclass(frozen=True, slots=True)
class Past:
    """A recipient as it was in the other queue; `details` are the words of its row there."""

    address: Address
    state: State
    due: float
    attempts: int
    last_reply: str
    code: str
    in_doubt: bool
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """
    Message `message` of an archive: when it arrived, and its recipients as they were.

    `archive` and `message` together are known once in a spool, so that nothing comes in twice. `by` imports it.
    """

    archive: str
    message: int
    arrived: float
    sender: Address | None
    body: Body
    details: Mapping[str, Any]
    recipients: tuple[Past, ...]
    by: str = ""
    at: float = 0.0

    def envelope(self) -> Envelope:
        """Its envelope, but for what stands in the details."""
        named = tuple(Recipient(each.address) for each in self.recipients)
        return Envelope(self.sender, named, self.body, bool(self.details.get("utf8")))


def history_from(archive: object, words: Mapping[str, Any], by: str, at: float) -> History:
    """The history that the words of a message in an archive tell. Raises ValueError that says what is wrong."""
    try:
        sender, details = words["sender"], words["details"]
        if not isinstance(archive, str) or not archive or not isinstance(words["recipients"], list):
            raise TypeError
        if not isinstance(sender, str) or not isinstance(details, dict):
            raise TypeError
        recipients = tuple(map(_past, words["recipients"]))
        if not recipients or len({each.address for each in recipients}) != len(recipients):
            raise TypeError
        return History(
            archive,
            parse_id(words["id"]),
            _time(words["arrived"]),
            parse_address(sender, utf8=True) if sender else None,
            Body(words["body"]),
            details,
            recipients,
            by,
            at,
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("the message has not the words of an archive") from error
    except AddressError as error:
        raise ValueError(f"an address of the message can't be read: {error}") from error


def _past(words: Mapping[str, Any]) -> Past:
    state, attempts, details = State(words["state"]), words["attempts"], words["details"]
    if state not in _STATES or not isinstance(attempts, int) or not 0 <= attempts < 1 << 31:
        raise TypeError
    if not isinstance(details, dict):
        raise TypeError
    return Past(
        parse_address(words["address"], utf8=True),
        state,
        _time(words["due"]),
        attempts,
        str(words["last_reply"]),
        str(words["code"]),
        bool(words["in_doubt"]),
        details,
    )


def _time(value: Any) -> float:
    """A time in seconds since 1970."""
    if not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise TypeError
    return float(value)

"""
Which recipients in the queue an operator means.

Owns: the selection as a value, and its words in a request of the control socket.
Never: reads the spool; `mta/spool/selecting.py` turns it into SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from mta.entry import State
from mta.ids import parse_id


@dataclass(frozen=True, slots=True)
class Selection:
    """
    All conditions that are given must hold. None everywhere selects the whole queue.

    `messages` are queue ids; `sender`, `recipient` are addresses, ``*`` in them stands for any text, "" as sender is
    the null reverse-path; `domain` is a recipient's domain; `state` one of queued, held, quarantined, in-doubt.
    """

    messages: tuple[int, ...] | None = None
    sender: str | None = None
    recipient: str | None = None
    domain: str | None = None
    state: State | None = None


def selection_from(words: Mapping[str, object]) -> Selection:
    """
    The selection that a request spells: keys `ids` (a list), `sender`, `recipient`, `domain`, `state`.

    Raises ValueError that names the bad word.
    """
    unknown = set(words) - {"ids", "sender", "recipient", "domain", "state"}
    if unknown:
        raise ValueError(f"unknown filter {', '.join(sorted(unknown))}")
    ids = words.get("ids")
    if ids is not None and not isinstance(ids, list):
        raise ValueError("ids must be a list of queue ids")
    texts = {}
    for key in ("sender", "recipient", "domain", "state"):
        value = words.get(key)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{key} must be text")
        # Bytes of a command line that are no UTF-8 come as lone surrogates, and so may any text in JSON.
        if value is not None and any("\ud800" <= each <= "\udfff" for each in value):
            raise ValueError(f"{key} must be text in UTF-8")
        texts[key] = value
    state = None
    if texts["state"] is not None:
        try:
            state = State(texts["state"])
        except ValueError:
            names = ", ".join(item.value for item in State if not item.is_final)
            raise ValueError(f"state {texts['state']!r} is not one of {names}") from None
    domain = texts["domain"]
    return Selection(
        messages=None if ids is None else tuple(parse_id(str(item)) for item in ids),
        sender=texts["sender"],
        recipient=texts["recipient"],
        domain=domain.lower() if domain else domain,
        state=state,
    )


def is_everything(selection: Selection) -> bool:
    """Whether nothing narrows it down: a command that changes the queue asks for `--all` then."""
    return not any(value is not None for value in asdict(selection).values())

"""
Which recipients in the queue an operator means: the one language of filters.

Owns: the filters, each declared once (the options of `mta queue`, the words of the control socket and docs/queue.md
come from here), the selection as a value, and what it matches.
Never: reads the spool; `mta/spool/selecting.py` says the same in SQL, and a test that the two agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import lru_cache

from mta.entry import State
from mta.ids import parse_id


class Measure(Enum):
    """What a filter's value is; the value is its type in a request."""

    TEXT = "text"
    STATE = "a state"
    SECONDS = "a number of seconds"
    OCTETS = "a number of octets"
    NUMBER = "a number"


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter: its word, what stands for its value in the help, what it selects; `foresees`: mail to come, too."""

    name: str
    measure: Measure
    metavar: str
    help: str
    foresees: bool = False


FILTERS = (
    Filter("sender", Measure.TEXT, "ADDRESS", 'From this sender; "" is the null sender.', foresees=True),
    Filter("recipient", Measure.TEXT, "ADDRESS", "To this recipient.", foresees=True),
    Filter("domain", Measure.TEXT, "DOMAIN", "To recipients at this domain.", foresees=True),
    Filter("site", Measure.TEXT, "SITE", "Waiting for this site, or last tried there."),
    Filter("route", Measure.TEXT, "ROUTE", "That would go by this rule or to this next hop now."),
    Filter("older", Measure.SECONDS, "AGE", "Here for longer than 2h, 30m, 5d ..."),
    Filter("younger", Measure.SECONDS, "AGE", "Here for less than that."),
    Filter("larger", Measure.OCTETS, "SIZE", "With more octets than 500K, 1M ...", foresees=True),
    Filter("smaller", Measure.OCTETS, "SIZE", "With fewer octets than that.", foresees=True),
    Filter("state", Measure.STATE, "STATE", "In this state: queued, held, quarantined, in-doubt or discarded."),
    Filter("code", Measure.TEXT, "CODE", 'Whose last attempt ended with this code: 451, 4.7.1, "4.7.*", or 451|4.7.1.'),
    Filter("reply", Measure.TEXT, "TEXT", "Whose last reply has this text in it."),
    Filter("operation", Measure.NUMBER, "NUMBER", "Changed by this operation, and by none since."),
)
BY_NAME: Mapping[str, Filter] = {each.name: each for each in FILTERS}
_FORESEES = frozenset(each.name for each in FILTERS if each.foresees)

# ASCII alone, as SQLite compares without regard to case.
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class Selection:
    """
    All conditions that are given must hold for one recipient. None everywhere selects the whole queue.

    `messages` are queue ids. In texts ``*`` stands for any text; "" as sender is the null reverse-path. `older` and
    `younger` are seconds, `larger` and `smaller` octets; `code` may name several, with ``|`` between them.
    """

    messages: tuple[int, ...] | None = None
    sender: str | None = None
    recipient: str | None = None
    domain: str | None = None
    state: State | None = None
    site: str | None = None
    route: str | None = None
    older: float | None = None
    younger: float | None = None
    larger: int | None = None
    smaller: int | None = None
    code: str | None = None
    reply: str | None = None
    operation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    A recipient in the queue as filters see it.

    `routes` are the names of the way it would go now: the rule and the next hop. `code` is what ended its last attempt:
    the reply's code and the enhanced one, as far as there are any, with a space between them.
    """

    message: int = 0
    arrived: float = 0.0
    sender: str = ""
    size: int = 0
    recipient: str = ""
    state: State = State.QUEUED
    site: str = ""
    routes: tuple[str, ...] = ()
    code: str = ""
    reply: str = ""
    operation: int | None = None


def codes_in(text: str) -> list[str]:
    """The patterns of a `code` filter."""
    return [each.strip() for each in text.split("|") if each.strip()]


def matches(selection: Selection, subject: Subject, now: float) -> bool:
    """Whether the selection means this recipient at `now`, in seconds since 1970."""
    wanted = selection
    return (
        (wanted.messages is None or subject.message in wanted.messages)
        and (wanted.sender is None or is_like(subject.sender, wanted.sender))
        and (wanted.recipient is None or is_like(subject.recipient, wanted.recipient))
        and (wanted.domain is None or is_like(subject.recipient, f"*@{wanted.domain}"))
        and (wanted.state is None or subject.state is wanted.state)
        and (wanted.site is None or is_like(subject.site, wanted.site))
        and (wanted.route is None or any(is_like(each, wanted.route) for each in subject.routes))
        and (wanted.older is None or subject.arrived < now - wanted.older)
        and (wanted.younger is None or subject.arrived > now - wanted.younger)
        and (wanted.larger is None or subject.size > wanted.larger)
        and (wanted.smaller is None or subject.size < wanted.smaller)
        and (wanted.code is None or _has_code(subject.code, wanted.code))
        and (wanted.reply is None or is_like(subject.reply, f"*{wanted.reply}*"))
        and (wanted.operation is None or subject.operation == wanted.operation)
    )


def is_like(text: str, pattern: str) -> bool:
    """Whether the text is the pattern's: ``*`` is any text, and the case of ASCII letters does not matter."""
    return bool(_compiled(pattern).fullmatch(_lower(text)))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, _lower(pattern).split("*"))), re.DOTALL)


def _lower(text: str) -> str:
    return text.translate(_LOWER)


def _has_code(found: str, wanted: str) -> bool:
    return any(is_like(f" {found} ", f"* {each} *") for each in codes_in(wanted))


def selection_from(words: Mapping[str, object]) -> Selection:
    """
    The selection that a request spells: `ids` (a list), and the names of `FILTERS`.

    Raises ValueError that names the bad word.
    """
    unknown = set(words) - {"ids", *BY_NAME}
    if unknown:
        raise ValueError(f"unknown filter {', '.join(sorted(unknown))}")
    ids = words.get("ids")
    if ids is not None and not isinstance(ids, list):
        raise ValueError("ids must be a list of queue ids")
    values = {each.name: _checked(each, words[each.name]) for each in FILTERS if words.get(each.name) is not None}
    if isinstance(domain := values.get("domain"), str):
        values["domain"] = domain.lower()
    if isinstance(code := values.get("code"), str) and not codes_in(code):
        raise ValueError("code must name a code, such as 451 or 4.7.1")
    return Selection(
        messages=None if ids is None else tuple(parse_id(str(item)) for item in ids),
        **values,  # type: ignore[arg-type]
    )


def _checked(filter_: Filter, value: object) -> object:
    name, measure = filter_.name, filter_.measure
    if measure in (Measure.TEXT, Measure.STATE):
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text")
        # Bytes of a command line that are no UTF-8 come as lone surrogates, and so may any text in JSON.
        if any("\ud800" <= each <= "\udfff" for each in value):
            raise ValueError(f"{name} must be text in UTF-8")
        return _state(value) if measure is Measure.STATE else value
    is_number = isinstance(value, int) or (measure is Measure.SECONDS and isinstance(value, float))
    # What is larger does not fit SQLite's integers.
    if isinstance(value, bool) or not is_number or not 0 <= value < 1 << 63:  # type: ignore[operator]
        raise ValueError(f"{name} must be {measure.value}")
    return value


def _state(text: str) -> State:
    states = [item for item in State if not item.is_final or item is State.DISCARDED]
    for state in states:
        if state.value == text:
            return state
    raise ValueError(f"state {text!r} is not one of {', '.join(item.value for item in states)}")


def words_of(selection: Selection) -> dict[str, object]:
    """What `selection_from` reads back, but for the ids; in the order of `FILTERS`."""
    words: dict[str, object] = {}
    for each in FILTERS:
        value = getattr(selection, each.name)
        if value is not None:
            words[each.name] = value.value if isinstance(value, State) else value
    return words


def is_everything(selection: Selection) -> bool:
    """Whether nothing narrows it down: a command that changes the queue asks for `--all` then."""
    return all(getattr(selection, field.name) is None for field in fields(selection))


def foreseen(selection: Selection) -> Selection:
    """The selection, as one of mail to come. Raises ValueError where it speaks of what is known only in the queue."""
    known_later = {name for name in words_of(selection) if name not in _FORESEES}
    if selection.messages is not None:
        known_later.add("ids")
    if known_later:
        raise ValueError(f"{', '.join(sorted(known_later))}: unknown of mail that has not come yet")
    return selection

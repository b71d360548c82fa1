"""
What changes the queue: hold, release, retry, reroute, discard, bounce, undo, and the rules for mail to come.

Owns: their words, and what the queue manager is told once the spool has them.
Never: reads the spool, or knows which connection asked.
Fails: ValueError for a bad word.
"""

from __future__ import annotations

from collections.abc import Mapping

from mta.interfaces import IQueue
from mta.order import Command, Done, Order
from mta.routing.next_hops import parse_next_hop
from mta.selection import Selection, foreseen, is_everything, selection_from

COMMANDS: Mapping[str, Command] = {f"queue.{each.value}": each for each in Command if each is not Command.UNDO} | {
    "undo": Command.UNDO
}

# A text for people, in one paragraph of a report.
MAX_TEXT = 1000
# What must leave the manager's window, and what makes something due.
_WITHDRAWS = frozenset((Command.HOLD, Command.EXPORT, Command.DISCARD, Command.REROUTE, Command.BOUNCE, Command.UNDO))
_MAKES_DUE = frozenset((Command.RELEASE, Command.RETRY, Command.REROUTE, Command.BOUNCE, Command.UNDO))


def ordered(command: str, words: Mapping[str, object], by: str, now: float) -> Order:
    """The order that a request of one of the `COMMANDS` spells. Raises ValueError."""
    rest = dict(words)
    match COMMANDS[command]:
        case Command.UNDO:
            return Order(Command.UNDO, Selection(), by, now, undoes=_number(rest, "operation"))
        case Command.REROUTE:
            next_hop = _next_hop(rest)
            return Order(Command.REROUTE, selected(rest), by, now, next_hop=next_hop)
        case Command.BOUNCE:
            text = _text(rest)
            return Order(Command.BOUNCE, selected(rest), by, now, text=text)
        case Command.DISCARD:
            for_good = _flag(rest, "for_good")
            return Order(Command.DISCARD, selected(rest), by, now, for_good=for_good)
        case other:
            return Order(other, selected(rest), by, now)


def selected(words: Mapping[str, object]) -> Selection:
    """The recipients that a request means. Raises ValueError, also for everything without `all`."""
    filters = dict(words)
    everything = _flag(filters, "all")
    selection = selection_from(filters)
    if is_everything(selection) and not everything:
        raise ValueError("name messages or a filter, or say --all to change the whole queue")
    if everything and not is_everything(selection):
        raise ValueError("--all and a filter contradict each other")
    return selection


def foretold(words: Mapping[str, object]) -> Selection:
    """The mail to come that a rule is for. Raises ValueError, also for all of it without `all`."""
    return foreseen(selected(words))


def rule_number(words: Mapping[str, object]) -> int:
    """The number of the rule that a request names. Raises ValueError."""
    return _number(dict(words), "rule")


def _flag(words: dict[str, object], name: str) -> bool:
    value = words.pop(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value


def _number(words: dict[str, object], name: str) -> int:
    number = words.pop(name, None)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 1 << 63 or words:
        raise ValueError(f"give the number of one {name}, as {name}")
    return number


def _next_hop(words: dict[str, object]) -> str:
    """Where to, in its canonical spelling; "" for `clear`."""
    clear, to = _flag(words, "clear"), words.pop("to", None)
    if clear == (to is not None):
        raise ValueError("say where to, with to, or clear")
    if to is None:
        return ""
    if not isinstance(to, str) or any("\ud800" <= each <= "\udfff" for each in to):
        raise ValueError("to must be the text of a next hop")
    return str(parse_next_hop(to))


def _text(words: dict[str, object]) -> str:
    text = words.pop("text", None)
    if not isinstance(text, str) or not text.strip():
        raise ValueError("text must say why, for the senders")
    if len(text) > MAX_TEXT or not text.isprintable():
        raise ValueError(f"text must be one line of {MAX_TEXT} characters at most")
    return text.strip()


def told(done: Done, queue: IQueue) -> None:
    """Tell the manager, once it is on disk: it might load again what it just dropped."""
    if done.order.command in _WITHDRAWS:
        queue.withdraw(done.changed)
    if done.order.command in _MAKES_DUE and done.changed:
        queue.due_changed()

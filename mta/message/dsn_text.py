"""
Write the part of a report that people read.

Owns: which texts a report takes, in which order, and filling them in, in one language below the other.
Never: has words of its own: they stand in files (`mta/message/templates.py`).
Fails: never.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from string import Template

from mta.address import Address
from mta.message.dsn_status import Action, ReportedMessage, ReportedRecipient
from mta.message.folding import WIDTH, one_line
from mta.message.templates import Language
from mta.outcome import Deferral, Delivered, Handover

_BETWEEN_LANGUAGES = "* * *"
_LAST_SECOND = 253_402_300_799  # 9999-12-31, the last day with a year of four digits


def subject(languages: Sequence[Language], recipients: Sequence[ReportedRecipient], *, is_double: bool) -> str:
    """The subject, in the first language: what is gravest, and to whom it happened."""
    gravest = min(recipients, key=_gravity)
    name = "double" if is_double else _name(gravest)
    concerned = [each for each in recipients if each.action is gravest.action]
    whom = str(concerned[0].address) + (f" (+{len(concerned) - 1})" if len(concerned) > 1 else "")
    return one_line(Template(languages[0].notices[name].subject).safe_substitute(whom=whom))


def explanation(
    languages: Sequence[Language],
    *,
    reporting_mta: str,
    report_from: Address,
    message: ReportedMessage,
    recipients: Sequence[ReportedRecipient],
    is_double: bool,
) -> str:
    """What happened, to whom, and what to do, in every language; lines end in LF."""
    groups: dict[str, list[ReportedRecipient]] = {}
    for each in sorted(recipients, key=_gravity):
        groups.setdefault("double" if is_double else _name(each), []).append(each)
    values = {"hostname": reporting_mta, "postmaster": str(report_from), "arrived": _moment(message.arrived)}
    pages = []
    for language in languages:
        page = _paragraphs(language, "opening", values, ())
        for name, members in groups.items():
            page += _paragraphs(language, name, values, members)
        pages.append("\n\n".join(page + _paragraphs(language, "closing", values, ())))
    return f"\n\n{_BETWEEN_LANGUAGES}\n\n".join(pages) + "\n"


def _gravity(reported: ReportedRecipient) -> int:
    return reported.action.gravity


def _name(reported: ReportedRecipient) -> str:
    """The text that speaks of a recipient."""
    if reported.action is Action.FAILED:
        return "expired" if isinstance(reported.outcome, Deferral) else "refused"
    name: str = reported.action.value
    return name


def _paragraphs(
    language: Language, name: str, values: Mapping[str, str], recipients: Sequence[ReportedRecipient]
) -> list[str]:
    filled = dict(values)
    if recipients:
        until = max((each.retry_until or 0.0 for each in recipients), default=0.0)
        filled["until"] = _moment(until)
        filled["whom"] = str(recipients[0].address)
    paragraphs: list[str] = []
    for paragraph in language.notices[name].paragraphs:
        if paragraph == "$recipients":
            paragraphs += [_recipient(each) for each in recipients]
        else:
            paragraphs.append(_filled(paragraph, tuple((each, filled[each]) for each in _placeholders(paragraph))))
    return paragraphs


@lru_cache(maxsize=256)
def _placeholders(paragraph: str) -> tuple[str, ...]:
    return tuple(Template(paragraph).get_identifiers())


@lru_cache(maxsize=256)
def _filled(paragraph: str, values: tuple[tuple[str, str], ...]) -> str:
    """A paragraph, filled in and wrapped. Remembered: reports of one minute say the same but for whom they concern."""
    text = one_line(Template(paragraph).safe_substitute(dict(values)), None)
    return textwrap.fill(text, WIDTH - 2, break_on_hyphens=False)


def _recipient(reported: ReportedRecipient) -> str:
    """The address, with the one that the sender wrote where it is another, and indented what is known of it."""
    original = reported.recipient.orcpt.partition(";")[2] or reported.recipient.named
    other = f" ({original})" if original and original != str(reported.address) else ""
    head = one_line(f"<{reported.address}>{other}")
    words = one_line(_words(reported))
    if not words.strip():
        return head
    return f"{head}\n{_indented(words)}"


@lru_cache(maxsize=64)
def _indented(words: str) -> str:
    """What somebody else said. Remembered: a host that refuses thousands says the same to all."""
    # Nobody takes an indented paragraph for ours. A word too long for a line is cut.
    return textwrap.fill(words, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _words(reported: ReportedRecipient) -> str:
    outcome = reported.outcome
    if outcome is None:
        return ""
    if not isinstance(outcome, Delivered):
        return outcome.reason
    if outcome.kind is not Handover.FINAL:
        return f"{outcome.host}: {outcome.reply}" if outcome.reply else outcome.host
    return str(outcome.reply) if outcome.reply else ""


def _moment(at: float) -> str:
    """A time as every language writes it: ``2023-11-14 22:13 UTC``."""
    return _minute(min(max(int(at), 0), _LAST_SECOND) // 60)


@lru_cache(maxsize=16)
def _minute(number: int) -> str:
    return datetime.fromtimestamp(number * 60, UTC).strftime("%Y-%m-%d %H:%M UTC")

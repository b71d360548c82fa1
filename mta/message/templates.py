"""
Load the texts that reports speak to people with.

Owns: the names of the texts, what may be filled into each, and where they come from: a directory of the operator's
with files ``LANGUAGE/NAME.txt``, and what ships with the program for all that is missing there.
Never: fills one in.
Fails: `TemplateError`, one line that names the file, when they are loaded; never when they are used.

A text is paragraphs with blank lines between; ``$name`` is filled in, ``$$`` is a dollar sign. All but the opening and
the closing begin with a line ``Subject: ...`` and have ``$recipients`` as a paragraph of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

_EVERYWHERE = frozenset(("hostname", "postmaster", "arrived"))
_SECTION = _EVERYWHERE | {"whom", "recipients"}
# name -> the placeholders that it may have
NAMES: Mapping[str, frozenset[str]] = {
    "opening": _EVERYWHERE,
    "refused": _SECTION,
    "expired": _SECTION,
    "delayed": _SECTION | {"until"},
    "relayed": _SECTION,
    "expanded": _SECTION,
    "delivered": _SECTION,
    "double": _SECTION,
    "closing": _EVERYWHERE,
}
_FRAME = ("opening", "closing")
_RECIPIENTS = "$recipients"
_SUBJECT = "Subject: "
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")  # RFC 5646 2.1, as far as it makes a folder's name


class TemplateError(ValueError):
    """A text that can't be used; `str()` of it is one line with the file and the reason."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One text: the template of its subject ("" for the frame) and those of its paragraphs."""

    subject: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """All texts in one language, by name; `tag` as in "en"."""

    tag: str
    notices: Mapping[str, Notice]


def load(languages: Sequence[str], directory: Path | None = None) -> tuple[Language, ...]:
    """
    The texts in these languages, checked, in this order; those in `directory` replace those that ship.

    Raises `TemplateError`.
    """
    if directory is not None and not directory.is_dir():
        raise TemplateError(f"{directory}: no such directory")
    if not languages:
        raise TemplateError("no language is given")
    return tuple(_language(tag, directory) for tag in dict.fromkeys(languages))


@cache
def shipped() -> tuple[Language, ...]:
    """What there is without any configuration: English."""
    return load(("en",))


def _language(tag: str, directory: Path | None) -> Language:
    if not _LANGUAGE.fullmatch(tag):
        raise TemplateError(f"{tag!r} is not a language tag such as en or de")
    ours: Traversable = files("mta.message").joinpath("notices", tag)
    theirs = None if directory is None else directory / tag
    if not ours.is_dir() and (theirs is None or not theirs.is_dir()):
        raise TemplateError(f"no texts in language {tag!r}: they do not ship, and the operator's directory has none")
    if theirs is not None:
        _look_for_strangers(theirs)
    return Language(tag, {name: _notice(name, ours, theirs) for name in NAMES})


def _look_for_strangers(directory: Path) -> None:
    """A file with a misspelled name would change nothing, and nobody would know."""
    for path in sorted(directory.glob("*.txt")):
        if path.stem not in NAMES:
            raise TemplateError(f"{path}: there is no text of this name; there are: {', '.join(NAMES)}")


def _notice(name: str, ours: Traversable, theirs: Path | None) -> Notice:
    place: Traversable = ours / f"{name}.txt"
    if theirs is not None and (theirs / f"{name}.txt").exists():
        place = theirs / f"{name}.txt"
    try:
        text = place.read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateError(f"{place}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"{place}: is not UTF-8: {error.reason} at octet {error.start}") from error
    return _checked(name, text, str(place))


def _checked(name: str, text: str, place: str) -> Notice:
    template = Template(text)
    if not template.is_valid():
        raise TemplateError(f"{place}: a $ that begins no placeholder; $$ is a dollar sign")
    strange = [found for found in template.get_identifiers() if found not in NAMES[name]]
    if strange:
        known = ", ".join(f"${each}" for each in sorted(NAMES[name]))
        raise TemplateError(f"{place}: unknown placeholder ${strange[0]}; there are: {known}")
    subject = ""
    body = text
    if name not in _FRAME:
        first, _newline, body = text.partition("\n")
        if not first.startswith(_SUBJECT) or not first.removeprefix(_SUBJECT).strip():
            raise TemplateError(f'{place}: the first line must be "Subject: ..."')
        subject = first.removeprefix(_SUBJECT).strip()
        if set(Template(subject).get_identifiers()) - {"whom"}:
            raise TemplateError(f"{place}: a subject has no other placeholder than $whom")
    paragraphs = tuple(" ".join(each.split()) for each in re.split(r"\n[ \t]*\n", body) if each.strip())
    if name not in _FRAME and (
        _RECIPIENTS not in paragraphs
        or sum("recipients" in Template(each).get_identifiers() for each in paragraphs) > 1
    ):
        raise TemplateError(f"{place}: {_RECIPIENTS} must stand once, as a paragraph of its own")
    return Notice(subject, paragraphs)

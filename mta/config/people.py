"""
The kinds of value that name people: users, aliases and their members, who moved.

Owns: reading each from its text into the form that policy compares, and saying what is wrong with it.
Never: knows which option uses it; compares one with another (`mta/config/residents.py`).
Fails: ValueError with a sentence; pydantic collects them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from mta.address import AddressError, parse_address
from mta.config.fields import FrozenTable, not_empty
from mta.policy.directory import folded


def unquoted(text: str, local_form: Callable[[str], str]) -> str:
    """A name, or a whole address, without quoting; `local_form` makes the local part what it is compared as."""
    try:
        address = parse_address(text if "@" in text else f"{text}@local.invalid", utf8=True)
    except AddressError as error:
        raise ValueError(f'"{text}": {error}') from None
    local = local_form(address.local)
    return f"{local}@{address.domain}" if "@" in text else local


def _user(text: str) -> str:
    """A user or an address as policy compares it; "*" is anyone."""
    if text != "*" and "*" in text.rpartition("@")[0 if "@" in text else 2]:
        raise ValueError(f'"{text}": a star stands alone and means anyone')
    return text if text == "*" else unquoted(text, folded)


def _listed_name(text: str) -> str:
    """The key of a moved user: as policy compares it."""
    return unquoted(text, folded)


def _alias(text: str) -> str:
    """The key of an alias: a name, an address, or "@example.org" for who has no other entry there."""
    return unquoted(f"x{text}", folded)[1:] if text.startswith("@") else _listed_name(text)


def _member(text: str) -> str:
    """
    Who an alias stands for: a name as policy compares it, or an address, of which another host may mind the case;
    "@example.net" is the same name there.
    """
    if text.startswith("@"):
        return unquoted(f"x{text}", str)[1:]
    return unquoted(text, str if "@" in text else folded)


def _new_address(text: str) -> str:
    """The whole address of who has moved."""
    if "@" not in text:
        raise ValueError(f'"{text}" must be a whole address')
    return unquoted(text, str)


def _distinct_names(table: object) -> object:
    """No two keys of a table are the same name: which of them would win?"""
    if isinstance(table, dict):
        seen: dict[str, str] = {}
        for key in table:
            first = seen.setdefault(folded(key), key)
            if first != key:
                raise ValueError(f'"{first}" and "{key}" are the same name')
    return table


User = Annotated[str, AfterValidator(_user)]
ListedName = Annotated[str, AfterValidator(_listed_name)]
Members = Annotated[tuple[Annotated[str, AfterValidator(_member)], ...], AfterValidator(not_empty)]
AliasName = Annotated[str, AfterValidator(_alias)]
Aliases = Annotated[dict[AliasName, Members], BeforeValidator(_distinct_names), AfterValidator(FrozenTable)]
NewAddress = Annotated[str, AfterValidator(_new_address)]
Moves = Annotated[dict[ListedName, NewAddress], BeforeValidator(_distinct_names), AfterValidator(FrozenTable)]

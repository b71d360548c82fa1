"""
What a table answers, and the URL that says which table it is.

Owns: the three answers to a lookup, the spelling of a table's URL.
Never: opens a table (`mta/tables/`), or knows what a key or a value means.
Fails: `parse_table_url` with ValueError, whose text says how to write it.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote, urlsplit

# What stands under a key: one text, or several where the table can hold several (rows, LDAP values, a JSON list).
Value = tuple[str, ...]

# Keys are addresses, names and domains; nothing longer is asked for (RFC 5321 4.5.3.1.3).
MAX_KEY = 320


@dataclass(frozen=True, slots=True)
class CouldNotAsk:
    """The table can't say: mail waits, for this is never "no such entry". `reason` names the table and the trouble."""

    reason: str


# None: there is no such entry.
Found = Value | None | CouldNotAsk


class Kind(Enum):
    """The kinds of table; the value is the scheme of its URL."""

    FILE = "file"
    ALIASES = "aliases"
    REGEXP = "regexp"
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    LDAP = "ldap"
    LDAPS = "ldaps"
    HTTPS = "https"


# Tables that are one text file, read whole.
TEXTS = (Kind.FILE, Kind.ALIASES, Kind.REGEXP)
_STATEMENT = re.compile(r"[?&]query=")
_PLACEHOLDER = re.compile(r"(?<!:):(?:key|local|domain)\b")
_PASSWORD = re.compile(r"(://[^/@:]*:)[^@/]*(?=@)|((?:x-bindpw|password)=)[^,&?]*", re.IGNORECASE)
_FORMS = (
    "file:PATH, aliases:PATH, regexp:PATH, sqlite:PATH?query=SELECT..., postgresql://HOST/DATABASE?query=SELECT...,"
    " ldap://HOST/BASE?ATTRIBUTE?sub?FILTER or https://HOST/PATH/{key}"
)


@dataclass(frozen=True, slots=True)
class TableUrl:
    """
    One table. `target` is the path of a file, or all that the connection needs; `query` is a statement of SQL with
    ``:key``, ``:local`` and ``:domain`` in it. What the operator wrote may have a password: it stands in no repr.
    """

    kind: Kind
    target: str = field(repr=False)
    query: str = ""

    def __str__(self) -> str:
        """For people: without a password and without the statement."""
        shown = self.target if "://" in self.target else f"{self.kind.value}:{self.target}"
        return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", shown)


def parse_table_url(text: str) -> TableUrl:
    """
    The table that `text` names. Raises ValueError.

    A statement is the last part, and stands as it is; one without any blank is taken for percent-encoded.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() not in {kind.value for kind in Kind}:
        raise ValueError(_unknown(text, scheme if colon else ""))
    kind = Kind(scheme.lower())
    if "\0" in text:
        raise ValueError("a table's URL can't hold a NUL")
    if kind in TEXTS:
        return TableUrl(kind, _path(kind, text, rest))
    if kind is Kind.SQLITE:
        path, query = _statement(text, rest)
        return TableUrl(kind, _path(kind, text, path), query)
    if not rest.startswith("//"):
        raise ValueError(f'"{_hidden(text)}" lacks the slashes of {kind.value}://')
    if kind is Kind.POSTGRESQL:
        place, query = _statement(text, rest)
        return TableUrl(kind, f"postgresql:{place}", query)
    _check_host(kind, text)
    return TableUrl(kind, f"{kind.value}:{rest}")


def is_table_url(text: str) -> bool:
    """Whether a text looks like the URL of a table, right or wrong, and not like a name or an address."""
    return ":" in text and not text.startswith(("[", '"'))


def _hidden(text: str) -> str:
    return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", text)


def _path(kind: Kind, text: str, path: str) -> str:
    if not path or path.endswith("/"):
        raise ValueError(f'"{text}" must be {kind.value}:PATH')
    # file:///etc/x is how a URL is written elsewhere; a path that begins with a host is a mistake.
    if path.startswith("//"):
        if not path.startswith("///"):
            raise ValueError(f'"{text}" names a host; write {kind.value}:/PATH')
        return path[2:]
    return path


def _statement(text: str, rest: str) -> tuple[str, str]:
    found = _STATEMENT.search(rest)
    if not found:
        raise ValueError(f'"{_hidden(text)}" lacks "?query=SELECT ... WHERE ... = :key"')
    query = rest[found.end() :]
    if not any(character.isspace() for character in query):
        query = unquote(query)
    if not query.lower().startswith(("select ", "with ")):
        raise ValueError(f'"{_hidden(text)}": the statement must be a SELECT')
    if not _PLACEHOLDER.search(query):
        raise ValueError(f'"{_hidden(text)}": the statement has none of :key, :local and :domain')
    return rest[: found.start()], query


def _check_host(kind: Kind, text: str) -> None:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f'"{_hidden(text)}" has no valid host and port') from None
    if not host:
        raise ValueError(f'"{_hidden(text)}" has no host')
    marks = [mark for mark in ("{key}", "{local}", "{domain}") if mark in text.partition("//")[2].partition("/")[2]]
    if not marks:
        raise ValueError(f'"{_hidden(text)}" has none of {{key}}, {{local}} and {{domain}}')
    if kind is not Kind.HTTPS and not (parts.query.split("?")[0] or unquote(parts.query)):
        raise ValueError(f'"{_hidden(text)}" names no attribute: ldap://HOST/BASE?ATTRIBUTE?sub?FILTER (RFC 4516)')


def _unknown(text: str, scheme: str) -> str:
    near = difflib.get_close_matches(scheme.lower(), [kind.value for kind in Kind], 1)
    hint = f'; did you mean "{near[0]}:"?' if near else ""
    if scheme.lower() in ("hash", "texthash", "lmdb", "btree", "pcre", "http"):
        other = {"http": "https", "pcre": "regexp"}.get(scheme.lower(), "file")
        hint = f'; "{other}:" is what comes nearest'
    return f'"{_hidden(text)}" is not a table; write {_FORMS}{hint}'

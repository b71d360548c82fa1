"""
Tables in a directory, by ldap3 (the extra "ldap"). The URL is that of RFC 4516.

Owns: the search that a URL means, escaped keys, one new try on a connection that died.
Never: changes the directory; puts a key into a filter unescaped (RFC 4515 3).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from mta.table import Value
from mta.tables.backend import MAX_VALUES, Pool, Trouble, parts, value_of

_SCOPES = {"": "BASE", "base": "BASE", "one": "LEVEL", "sub": "SUBTREE"}  # RFC 4516 2


@dataclass(frozen=True, slots=True)
class Search:
    """
    What a URL asks for: ``ldap://host/base?attribute,attribute?scope?filter?bindname=DN,x-bindpw=PASSWORD,x-starttls``.

    `base` and `filter` may have ``{key}``, ``{local}`` and ``{domain}``.
    """

    host: str
    port: int
    ssl: bool
    base: str
    attributes: tuple[str, ...]
    scope: str
    filter: str
    user: str
    password: str
    starttls: bool


def parse_search(url: str) -> Search:
    """The search of a URL. Raises ValueError."""
    parts_of_url = urlsplit(url)
    base = unquote(parts_of_url.path.removeprefix("/"))
    fields = [*parts_of_url.query.split("?"), "", "", "", ""][:4]
    attributes = tuple(filter(None, unquote(fields[0]).split(",")))
    scope = _SCOPES.get(unquote(fields[1]).lower())
    if scope is None:
        raise ValueError(f'"{fields[1]}" is not a scope; base, one and sub are (RFC 4516 2)')
    if not attributes:
        raise ValueError("names no attribute, whose values are the table's")
    extensions: dict[str, str] = {}
    for item in filter(None, fields[3].split(",")):
        name, _, value = item.lstrip("!").partition("=")
        if name.lower() not in ("bindname", "x-bindpw", "x-starttls"):
            raise ValueError(f'unknown extension "{name}"; bindname, x-bindpw and x-starttls are known')
        extensions[name.lower()] = unquote(value)
    secure = parts_of_url.scheme == "ldaps"
    return Search(
        parts_of_url.hostname or "",
        parts_of_url.port or (636 if secure else 389),
        secure,
        base,
        attributes,
        scope,
        unquote(fields[2]) or "(objectClass=*)",
        extensions.get("bindname", ""),
        extensions.get("x-bindpw", ""),
        "x-starttls" in extensions,
    )


class LdapBackend:
    """`name` is the URL for people. Raises `Trouble` without ldap3 or with a bad URL."""

    def __init__(self, url: str, timeout: float, name: str) -> None:
        try:
            import ldap3
            from ldap3.core.exceptions import LDAPException
            from ldap3.utils.conv import escape_filter_chars
            from ldap3.utils.dn import escape_rdn
        except ImportError:
            raise Trouble(f"{name}: needs ldap3: pip install 'mta[ldap]'") from None
        try:
            self._search = parse_search(url)
        except ValueError as error:
            raise Trouble(f"{name}: {error}") from None
        self._ldap3: Any = ldap3
        self._fault = LDAPException
        self._escape_filter = escape_filter_chars
        self._escape_name = escape_rdn
        self._timeout = max(1, int(timeout))
        self._name = name
        self._pool = Pool(self._connect, lambda connection: connection.unbind())

    def _connect(self) -> Any:
        asked, ldap3 = self._search, self._ldap3
        verified = ldap3.Tls(validate=ssl.CERT_REQUIRED)
        server = ldap3.Server(
            asked.host,
            asked.port,
            use_ssl=asked.ssl,
            tls=verified,
            connect_timeout=self._timeout,
            get_info=ldap3.NONE,
        )
        return ldap3.Connection(
            server,
            asked.user or None,
            asked.password or None,
            auto_bind=ldap3.AUTO_BIND_TLS_BEFORE_BIND if asked.starttls else ldap3.AUTO_BIND_NO_TLS,
            client_strategy=ldap3.SAFE_SYNC,
            receive_timeout=self._timeout,
            read_only=True,
        )

    def ask(self, key: str) -> Value | None:
        asked = self._search
        filter_parts = {name: self._escape_filter(text) for name, text in parts(key).items()}
        name_parts = {name: self._escape_name(text) if text else "" for name, text in parts(key).items()}
        while True:
            is_new = True
            try:
                connection, is_new = self._pool.take()
                try:
                    _ok, result, entries, _request = connection.search(
                        _filled(asked.base, name_parts),
                        _filled(asked.filter, filter_parts),
                        search_scope=asked.scope,
                        attributes=list(asked.attributes),
                        time_limit=self._timeout,
                    )
                except BaseException:
                    self._pool.drop(connection)
                    raise
            except (self._fault, OSError, ssl.SSLError) as error:
                if not is_new:
                    continue
                raise Trouble(f"{self._name}: {' '.join(str(error).split())[:200]}") from None
            self._pool.give_back(connection)
            return self._value(result, entries)

    def _value(self, result: dict[str, Any], entries: list[dict[str, Any]]) -> Value | None:
        # RFC 4511 A.1: noSuchObject (32) says that the base is not there, which a base with {local} in it may be.
        if result["result"] == 32 and "{" in self._search.base:
            return None
        if result["result"] != 0:
            raise Trouble(f"{self._name}: {result['description']}: {result['message']}")
        found: list[object] = []
        for entry in entries:
            if entry.get("type") != "searchResEntry":
                continue
            for attribute in self._search.attributes:
                values = _ignoring_case(entry["attributes"], attribute)
                found.extend(values if isinstance(values, list) else [values])
        if len(found) > MAX_VALUES:
            raise Trouble(f"{self._name}: has more than {MAX_VALUES} values for one key")
        return value_of([_text(item) for item in found], self._name)

    def close(self) -> None:
        self._pool.close()


def _ignoring_case(attributes: Any, name: str) -> Any:
    return next((value for key, value in attributes.items() if key.lower() == name.lower()), [])


def _text(item: object) -> object:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else item


def _filled(template: str, values: dict[str, str]) -> str:
    """The template with the values in its marks, each looked at once: a value may have a mark in it."""
    pieces, rest = list[str](), template
    while rest:
        places = [(at, mark) for mark in values if (at := rest.find(f"{{{mark}}}")) >= 0]
        if not places:
            break
        at, mark = min(places)
        pieces += [rest[:at], values[mark]]
        rest = rest[at + len(mark) + 2 :]
    return "".join([*pieces, rest])

"""
Options of logging in with a token (OAuth 2.0): the table [auth.oauth].

Owns: who says what a token is worth, and what it must say.
Never: compares one option with another (`mta/config/consistency.py`), or asks anybody.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from mta.config.fields import Duration, OptionalFile
from mta.config.option import Table, option

# RFC 6749 3.3
_SCOPE = re.compile(r"[!#-\[\]-~]+")


def https_url(text: str) -> str:
    """A URL that tokens may travel to, as it is. Raises ValueError."""
    try:
        parts = urlsplit(text)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None or parts.fragment or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(f'"{text}" is not a URL such as "https://id.example.org/path"; tokens travel over HTTPS alone')
    return text


def _url_or_nothing(text: str) -> str:
    return https_url(text) if text else ""


def _url_or_file(text: str) -> str:
    if "://" in text:
        return https_url(text)
    if "\0" in text:
        raise ValueError("must be a URL or the path of a file")
    return text


def _scope(text: str) -> str:
    if not _SCOPE.fullmatch(text):
        raise ValueError(f'"{text}" is not a scope; each is a text of its own, without spaces (RFC 6749 3.3)')
    return text


def _claim(text: str) -> str:
    if not text:
        raise ValueError('must be the name of a claim, such as "email"')
    return text


class OAuth(Table):
    """Logging in with tokens (OAUTHBEARER, XOAUTH2), beside auth.backend; offered where one of the first two is set."""

    introspection: Annotated[str, AfterValidator(_url_or_nothing)] = option(
        "",
        "The introspection endpoint (RFC 7662) that says whether a token is good: an https:// URL.",
        unit="URL",
        source="nobody until named",
    )
    jwks: Annotated[str, AfterValidator(_url_or_file)] = option(
        "",
        "The keys (JWK Set, RFC 7517) that tokens which are JWTs are signed with: an https:// URL, or a file, relative"
        " to the directory that the daemon is started in.",
        unit="URL or path",
        source="nobody until named",
    )
    client_id: str = option(
        "", "Who we are at the introspection endpoint.", unit="text", source="RFC 7662 2.1 wants it to know"
    )
    client_secret: str = option(
        "",
        'The secret that belongs to client_id; "${NAME}" takes it from the environment, or from the file that NAME_FILE'
        " names.",
        unit="text",
        source="none",
    )
    issuer: str = option(
        "", 'Who must have issued a token: its "iss", letter for letter.', unit="text", source="needed with jwks"
    )
    audience: tuple[str, ...] = option(
        (),
        'Whom a token may be for: one of these must be in its "aud". A token that another service was given is no key'
        " to this one.",
        unit="list of texts",
        source="needed with jwks",
    )
    scopes: tuple[Annotated[str, AfterValidator(_scope)], ...] = option(
        (), 'The scopes that a token must have, all of them ("scope" or "scp").', unit="list of texts", source="none"
    )
    user_claim: Annotated[str, AfterValidator(_claim)] = option(
        "email",
        "The claim that names the user. Nothing else is looked at where it is missing; choose one that the issuer alone"
        " decides on.",
        unit="text",
        source="users send as their addresses",
    )
    openid_configuration: Annotated[str, AfterValidator(_url_or_nothing)] = option(
        "",
        "Where clients whose token will not do learn who gives them another: an https:// URL.",
        unit="URL",
        source="RFC 7628 3.2.2, optional",
    )
    keep: Duration = option(
        "1m",
        "How long the answer of the introspection endpoint is good, never beyond the end of the token; a token that is"
        " taken back still works for so long. 0s asks each time.",
        unit="duration",
        source="RFC 7662 4",
    )
    ca_file: OptionalFile = option(
        "",
        "A PEM file with the authorities that these web servers are verified by; empty for those of the system."
        " Relative to the directory that the daemon is started in.",
        unit="path",
        source="the Web PKI",
    )

    @property
    def is_used(self) -> bool:
        """Whether anybody can log in with a token."""
        return bool(self.introspection or self.jwks)

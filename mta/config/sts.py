"""
Options of MTA-STS (RFC 8461).

Owns: the tables [sts] and [sts.policy].
Never: fetches a policy (`mta/tls/`), or says what else makes a connection safe enough.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from mta.config.fields import OptionalEndpoint, OptionalFile, PositiveDuration
from mta.config.option import Table, option
from mta.sts_policy import MAX_AGE, is_pattern


def _pattern(text: str) -> str:
    pattern = text.lower()
    if not is_pattern(pattern):
        raise ValueError(f'"{text}" is neither a host name nor "*.DOMAIN"')
    return pattern


def _within_a_year(seconds: float) -> float:
    if not 1 <= seconds <= MAX_AGE:
        raise ValueError(f"must be from 1s to {MAX_AGE}s, a year (RFC 8461 3.2)")
    return seconds


class StsPolicyTable(Table):
    """The policy for mail to your own domains, which `mta dns` prints and a web server publishes (docs/tls.md)."""

    mode: Literal["enforce", "testing", "none"] = option(
        "testing",
        'What others do where a host of yours fails: "enforce" sends no mail, "testing" reports it, "none" takes'
        " a policy back.",
        unit='"enforce", "testing", "none"',
        source="RFC 8461 1.1: test before you enforce",
    )
    mx: tuple[Annotated[str, AfterValidator(_pattern)], ...] = option(
        (),
        'The hosts that take mail for your domains, "mx.example.org", or "*.example.org" for all one level below;'
        " empty means hostname.",
        unit="list of host names",
        source="most have one",
    )
    max_age: Annotated[PositiveDuration, AfterValidator(_within_a_year)] = option(
        "7d",
        "How long others hold the policy without a look at it.",
        unit="duration",
        source="RFC 8461 3.2: weeks or greater; begin with less",
    )
    serve: OptionalEndpoint = option(
        "",
        'Where this daemon serves the policy by itself, "tcp:443": over HTTPS with tls.certificates, of which one must'
        " be for mta-sts.DOMAIN, for each domain in local.domains and relay.domains. Empty leaves it to a web server.",
        unit="endpoint",
        source="port 443 is often that of a web server",
    )


class Sts(Table):
    """MTA-STS: a domain says which hosts take its mail, and that they prove who they are."""

    follow: bool = option(
        True,
        "Whether the policies of the domains that mail goes to are fetched and kept.",
        unit="true, false",
        source="mox does; a domain without a policy costs one question to the DNS",
    )
    ca_file: OptionalFile = option(
        "",
        "A PEM file with the authorities that web servers are verified by, those with policies and those that take TLS"
        " reports; empty for those of the system. Relative to the directory that the daemon is started in.",
        unit="path",
        source="RFC 8461 3.3, the Web PKI",
    )
    policy: StsPolicyTable = option({})

"""
`mta sts`: the MTA-STS policies of other domains.

Owns: how they are printed.
Never: changes what the daemon has stored. Imports Twisted only when it asks the network.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mta.cli import columns
from mta.cli.configuration import config_option, loaded
from mta.cli.failure import CommandError

if TYPE_CHECKING:
    from mta.config.schema import Config
    from mta.sts_policy import StsPolicy
    from mta.tls.sts_look import Look


@click.group()
def sts() -> None:
    """Look at the MTA-STS policies (RFC 8461) of the domains that mail goes to."""


@sts.command()
@click.argument("domain")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all of it.")
@config_option
def show(config: str | None, domain: str, as_json: bool) -> int:
    """
    Print the policy of DOMAIN: what is stored here, what its DNS and its web server say now, and why they fail.

    The exit code is 69 where there is a record or a stored policy, and no policy can be fetched.
    """
    found = _looked(loaded(config), domain)
    now = time.time()
    if as_json:
        click.echo(json.dumps(fields(found)))
    else:
        columns.write(("what", "is"), [(name, text) for name, text in rows(found, now)])
    failed = found.fetched is None and bool(found.id or found.stored)
    return os.EX_UNAVAILABLE if failed else os.EX_OK


def _looked(config: Config, domain: str) -> Look:
    from mta.asking import answer
    from mta.tls.https_connection import trusted
    from mta.tls.sts_fetch import StsFetcher
    from mta.tls.sts_look import look
    from mta.tls.sts_store import FOLDER, StsStore

    try:
        root = trusted(config.sts.ca_file)
    except (OSError, ValueError) as error:
        raise CommandError(f"sts.ca_file: {config.sts.ca_file}: {error}", os.EX_CONFIG) from None
    store = StsStore(config.state_dir / FOLDER, lambda line: click.echo(f"mta: {line}", err=True))
    return answer(
        config,
        lambda reactor, resolver: look(
            domain, resolver, StsFetcher(reactor=reactor, resolver=resolver, trust_root=root), store
        ),
    )


def rows(found: Look, now: float) -> Iterator[tuple[str, str]]:
    """The lines of the table, what is stored first."""
    stored = found.stored
    if stored is None:
        yield "stored", "nothing"
    else:
        yield "stored", _said(stored.policy)
        yield "  fetched", columns.time(stored.fetched)
        yield "  checked", columns.time(stored.checked)
        over = "" if now < stored.expires else " (over)"
        yield "  ends", columns.time(stored.expires) + over
    yield "DNS", f"id {found.id}" if found.id else found.dns
    yield "HTTPS", _said(found.fetched) if found.fetched else found.https
    yield "so", _conclusion(found, now)


def _said(policy: StsPolicy) -> str:
    return f"{policy.mode.value}: {', '.join(policy.mx) or 'no hosts'}; max_age {policy.max_age}; id {policy.id or '-'}"


def _conclusion(found: Look, now: float) -> str:
    alive = found.stored is not None and now < found.stored.expires
    if found.id and found.fetched:
        return "the policy is in order" if not alive or found.stored is None else _compared(found)
    if alive:
        return "the stored policy holds until it ends"
    if found.fetched:
        return "the web server has a policy, but without the record nobody asks for it"
    return "no policy: mail goes as to any other domain"


def _compared(found: Look) -> str:
    same = found.stored is not None and found.stored.policy == found.fetched
    return "the stored policy is the one of today" if same else "the stored policy will be replaced at the next check"


def fields(found: Look) -> dict[str, Any]:
    """The same for programs: times in seconds since 1970."""
    stored = found.stored
    return {
        "domain": found.domain,
        "stored": None
        if stored is None
        else {
            **_policy_fields(stored.policy),
            "fetched": stored.fetched,
            "checked": stored.checked,
            "ends": stored.expires,
        },
        "dns": {"id": found.id or None, "error": found.dns or None},
        "https": {"policy": found.fetched and _policy_fields(found.fetched), "error": found.https or None},
    }


def _policy_fields(policy: StsPolicy) -> dict[str, Any]:
    return {"mode": policy.mode.value, "mx": list(policy.mx), "max_age": policy.max_age, "id": policy.id or None}

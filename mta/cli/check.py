"""
`mta check`: the configuration, and what it points to.

Owns: the report; the remarks that need more than one room to be made.
Never: binds a port, or changes anything.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from mta.auth import userfile
from mta.cli.configuration import config_option, loaded, located
from mta.cli.failure import CommandError
from mta.config import agents
from mta.config.checking import problems
from mta.config.lines import Location
from mta.config.logins import remarks
from mta.config.places import placed
from mta.config.schema import Config
from mta.config.tables import named_tables
from mta.dns.servers import are_trusted, system_servers
from mta.tls_policy import TlsLevel

Findings = list[tuple[Location, str]]


def _logins(config: Config) -> list[str]:
    """What would keep people from logging in."""
    return [f"{config.source}: {problem}" for problem in (*_passwords(config), *_keys(config.auth.oauth.jwks))]


def _keys(jwks: str) -> list[str]:
    """What is wrong with a file of keys that tokens are signed with."""
    if not jwks or "://" in jwks:
        return []
    from mta.auth.jwks import KeySetError, keys_in  # cryptography takes its time to load

    try:
        keys_in(Path(jwks).read_bytes())
    except KeySetError as error:
        return [f"auth.oauth.jwks: {jwks}: {error}"]
    except OSError as error:
        return [f"auth.oauth.jwks: cannot read {jwks}: {error.strerror}"]
    return []


def _passwords(config: Config) -> list[str]:
    auth = config.auth
    if auth.backend == "file":
        try:
            userfile.read(config.users_path)
        except userfile.UserFileError as error:
            return [f"auth.users: {error}"]
    if auth.backend == "dovecot" and not Path(auth.dovecot).is_socket():
        return [f"auth.dovecot: {auth.dovecot} is no socket"]
    return []


@click.command()
@config_option
@click.option("--dns", is_flag=True, help="Ask the resolvers, too: whether they answer, and validate (for DANE).")
def check(config: str | None, dns: bool) -> None:
    """Check the configuration; every problem is a line, and the exit code is 78 (EX_CONFIG) then.

    With --dns it is 69 (EX_UNAVAILABLE) where a resolver does not answer, or does not validate.
    """
    checked = loaded(config)
    trouble, warnings, certificates = _certificates(checked)
    if found := [*problems(checked), *placed(checked.source, trouble), *_logins(checked), *_tables(checked)]:
        raise CommandError("\n".join(found), os.EX_CONFIG)
    listeners = ", ".join(f"{listener.name} on {listener.endpoint}" for listener in checked.listeners)
    domains = f"{len(checked.local.domains)} local domains, {len(checked.relay.domains)} relay domains"
    click.echo(f"{located(config)}: OK")
    click.echo(f"  {checked.hostname}: {listeners}")
    people = f"{len(checked.local.aliases)} aliases, {len(checked.local.moved)} moved users"
    click.echo(f"  {domains}, {people}, {len(checked.routes)} routes; state in {checked.state_dir}")
    for line in certificates:
        click.echo(f"  {line}")
    for loud in agents.warnings(checked):
        click.echo(f"  WARNING: {loud}")
    for line in placed(checked.source, [*remarks(checked), *_dane(checked), *warnings]):
        click.echo(f"  warning: {line}")
    if dns:
        # Only now: it brings Twisted's codec along, which all other commands do without.
        from mta.cli.resolvers import findings

        good, bad = findings(checked.dns)
        for line in good:
            click.echo(f"  {line}")
        if bad:
            raise CommandError("\n".join(bad), os.EX_UNAVAILABLE)


def _tables(config: Config) -> list[str]:
    """What is wrong with the tables: those that can't be asked, and bad entries, each with its file and line."""
    named = list(dict.fromkeys(named_tables(config)))
    if not named:
        return []
    from mta.tables.checking import problems as table_problems

    return [
        f"{config.source}: {key}: {problem}"
        for key, url in named
        for problem in table_problems(url, config.state_dir, config.tables.timeout)
    ]


def _dane(config: Config) -> Findings:
    """Mail that can only wait: it demands TLSA records, and no resolver is believed to have validated any."""
    try:
        servers = config.dns.servers or system_servers()
    except OSError:  # `problems` has told it
        return []
    if are_trusted(servers, config.dns.trust_ad):
        return []
    client = config.client.tls
    demands: list[Location] = [
        ("route", number, "tls") for number, route in enumerate(config.routes) if route.tls is TlsLevel.DANE
    ]
    demands += [
        ("client", "tls", "domains", domain) for domain, level in client.domains.items() if level is TlsLevel.DANE
    ]
    if client.default is TlsLevel.DANE:
        demands.append(("client", "tls", "default"))
    named = ", ".join(host for host, _port in servers)
    reason = (
        f'"dane" has all this mail wait: dns.trust_ad = "{config.dns.trust_ad}" does not trust the resolvers ({named});'
        " run a validating one on this machine, or write another level"
    )
    return [(demand, reason) for demand in demands]


def _certificates(config: Config) -> tuple[Findings, Findings, list[str]]:
    """What is wrong with TLS, what is to be looked at, and a line for each certificate."""
    if not config.tls.certificates:
        return [], [], []
    from mta.tls.checking import look  # OpenSSL takes its time to load

    found = look(config, time.time())
    return found.problems, found.warnings, found.certificates

"""
`mta check`: the configuration, and what it points to.

Owns: the report.
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
from mta.config.checking import problems
from mta.config.schema import Config


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
    trouble, certificates = _certificates(checked)
    if found := [*problems(checked), *trouble, *_logins(checked)]:
        raise CommandError("\n".join(found), os.EX_CONFIG)
    listeners = ", ".join(f"{listener.name} on {listener.endpoint}" for listener in checked.listeners)
    domains = f"{len(checked.local.domains)} local domains, {len(checked.relay.domains)} relay domains"
    click.echo(f"{located(config)}: OK")
    click.echo(f"  {checked.hostname}: {listeners}")
    people = f"{len(checked.local.aliases)} aliases, {len(checked.local.moved)} moved users"
    click.echo(f"  {domains}, {people}, {len(checked.routes)} routes; state in {checked.state_dir}")
    for line in certificates:
        click.echo(f"  {line}")
    if dns:
        # Only now: it brings Twisted's codec along, which all other commands do without.
        from mta.cli.resolvers import findings

        good, bad = findings(checked.dns)
        for line in good:
            click.echo(f"  {line}")
        if bad:
            raise CommandError("\n".join(bad), os.EX_UNAVAILABLE)


def _certificates(config: Config) -> tuple[list[str], list[str]]:
    """What is wrong with TLS, and what is to be told of it."""
    if not config.tls.certificates:
        return [], []
    from mta.tls.checking import look  # OpenSSL takes its time to load

    return look(config, time.time())

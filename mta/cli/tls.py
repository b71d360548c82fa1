"""
`mta tls`: what is to be done by hand about certificates.

Owns: `selfsigned`.
Never: changes the configuration.
"""

from __future__ import annotations

import os
import time

import click

from mta.cli.configuration import config_option, loaded
from mta.cli.failure import CommandError


@click.group()
def tls() -> None:
    """Certificates."""


@tls.command()
@config_option
@click.option("--name", "names", metavar="HOST", multiple=True, help="A host it is for. [default: hostname]")
@click.option("--days", type=click.IntRange(1, 36_500), default=3650, show_default=True, help="How long it is valid.")
def selfsigned(config: str | None, names: tuple[str, ...], days: int) -> None:
    """
    Make a certificate that signs itself, below state_dir, and print what to write into the configuration.

    It encrypts, and proves nothing: good for a first start and for hosts that do not verify, as most mail servers.
    """
    from mta.tls.selfsigned import make, write

    wanted = loaded(config)
    hosts = names or (wanted.hostname,)
    try:
        certificate, key = make(hosts, days, time.time())
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None
    try:
        paths = write(wanted.state_dir / "tls", hosts[0].replace("*", "_"), certificate, key)
    except FileExistsError as error:
        raise CommandError(f"{error}; move it away first", os.EX_CANTCREAT) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}", os.EX_CANTCREAT) from None
    click.echo("[[tls.certificates]]")
    for word, path in zip(("certificate", "key"), paths, strict=True):
        click.echo(f'{word} = "{path.relative_to(wanted.state_dir)}"')

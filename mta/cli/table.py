"""
`mta table`: look something up as the daemon would.

Owns: how an answer is printed, and its exit code.
Never: changes a table. Imports Twisted only when it asks the network over HTTPS.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from mta.cli.configuration import config_option, loaded
from mta.cli.failure import CommandError
from mta.table import CouldNotAsk, Found, Kind, TableUrl, parse_table_url

if TYPE_CHECKING:
    from mta.config.schema import Config


@click.group()
def table() -> None:
    """Look into tables of users, aliases and recipients."""


@table.command()
@click.argument("url")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@config_option
def get(config: str | None, url: str, key: str, as_json: bool) -> int:
    """
    Print what the table URL has for KEY, one value a line.

    URL is as in the configuration, such as aliases:/etc/aliases. The exit code is 1 where there is no such entry, 75
    (EX_TEMPFAIL) where the table can't be asked.
    """
    try:
        wanted = parse_table_url(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from None
    found = _looked(loaded(config), wanted, key)
    if isinstance(found, CouldNotAsk):
        raise CommandError(found.reason, os.EX_TEMPFAIL)
    if as_json:
        click.echo(json.dumps({"table": str(wanted), "key": key, "value": found}, ensure_ascii=False))
    else:
        for value in found or ():
            click.echo(value)
    return 1 if found is None else os.EX_OK


def _looked(config: Config, url: TableUrl, key: str) -> Found:
    if url.kind is not Kind.HTTPS:
        from mta.tables.checking import look

        return look(url, config.state_dir, config.tables.timeout, key)
    from mta.asking import answer
    from mta.daemon.tables import asked_once

    return answer(config, lambda reactor, resolver: asked_once(config, url, key, reactor, resolver))

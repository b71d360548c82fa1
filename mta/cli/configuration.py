"""
Find and read the configuration, as every command does it.

Owns: where it is looked for, and the paths of the daemon's files that follow from it.
Never: checks what the configuration points to (`mta check` does).
Fails: `CommandError` with EX_CONFIG, one line for each problem.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click

from mta.cli.failure import CommandError
from mta.config.loading import ConfigError, load
from mta.config.schema import Config
from mta.spool.schema import FILE_NAME

# The first is the checkout's and the one of `twistd mta`, the second the installed machine's.
PLACES = (Path("etc/mta.toml"), Path("/etc/mta/mta.toml"))

# Every command takes the option, and so does `mta` itself: people put it in both places.
config_option = click.option(
    "--config",
    metavar="FILE",
    callback=lambda context, _, value: value or context.obj,
    help="Configuration file. [default: $MTA_CONFIG, or ./etc/mta.toml]",
)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of the daemon that commands work on, and the configuration that names them."""

    spool: Path
    control: Path
    config: Config


def located(option: str | None) -> Path:
    """The configuration file: the option's, then MTA_CONFIG's, then the first of the usual places that is there."""
    named = option or os.environ.get("MTA_CONFIG")
    if named:
        return Path(named)
    for place in PLACES:
        if place.exists():
            return place
    places = " or ".join(map(str, PLACES))
    raise CommandError(f"no configuration at {places}; name one with --config or MTA_CONFIG", os.EX_CONFIG)


def loaded(option: str | None) -> Config:
    """The configuration. Raises `CommandError` with all its problems."""
    try:
        return load(located(option), os.environ)
    except ConfigError as error:
        raise CommandError(str(error), os.EX_CONFIG) from None


def files(option: str | None) -> Files:
    """The daemon's files as the configuration names them."""
    config = loaded(option)
    return Files(spool=config.state_dir / FILE_NAME, control=config.control_path, config=config)

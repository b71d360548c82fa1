"""
The `mta` command of twistd.

Owns: its options, and turning a configuration that can't be used into lines and an exit code.
Never: starts anything; twistd does, after it has forked.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from twisted.application.service import IService
from twisted.python import usage

from mta import steady
from mta.config.loading import ConfigError, load
from mta.config.schema import Config
from mta.daemon.starting import StartError, complain, reserve
from mta.daemon.supervisor import SupervisorService
from mta.ids import MAX_WORKER
from mta.reactor import install
from mta.service import MtaService

DEFAULT_CONFIG = "etc/mta.toml"


class Options(usage.Options):
    """``twistd mta --config FILE``; without it MTA_CONFIG or ./etc/mta.toml."""

    longdesc = "A store-and-forward mail transfer agent. The configuration is one TOML file; see etc/mta.toml."
    optParameters = [  # noqa: RUF012 (Twisted's way of declaring options)
        ["config", "c", None, f"The configuration file (default: $MTA_CONFIG, else {DEFAULT_CONFIG})."],
    ]


def makeService(options: Options) -> IService:
    """The service, or `SystemExit` with every reason why not: 78 for the configuration, else as `StartError` says."""
    path = Path(options["config"] or os.environ.get("MTA_CONFIG") or DEFAULT_CONFIG)
    read = partial(_read, path)
    try:
        config = read()
    except ConfigError as error:
        for problem in error.problems:
            complain(problem)
        raise SystemExit(os.EX_CONFIG) from error
    try:
        lock = reserve(config)
    except StartError as error:
        complain(str(error))
        raise SystemExit(error.code) from error
    install()
    from twisted.internet import reactor

    steady.keep(reactor)
    log_path = config.log_path
    if log_path is None and options.parent is not None and not options.parent["nodaemon"]:
        log_path = config.state_dir / "mail.log"  # a daemon has no standard output
    daemon = MtaService if config.workers == 1 else SupervisorService
    return daemon(config, lock, log_path, read, reactor)


def _read(path: Path) -> Config:
    config = load(path, os.environ)
    cores = min(len(os.sched_getaffinity(0)), MAX_WORKER)
    return config if config.workers else config.model_copy(update={"workers": cores})

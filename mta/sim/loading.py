"""
Read a scenario.

Owns: the way from a file to a `Scenario`.
Never: runs it.
Fails: `ConfigError`, with every problem of the file at once, as with the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mta.config.loading import Form, parse_form, read
from mta.config.schema import Config
from mta.sim.consistency import conflicts
from mta.sim.scenario import Scenario

_NOUN = "scenario"


def load(path: Path, environ: Mapping[str, str], config: Config) -> Scenario:
    """The scenario in a file, for a run with `config`. Raises `ConfigError`."""
    return parse(read(path, _NOUN), str(path), environ, config)


def parse(text: str, source: str, environ: Mapping[str, str], config: Config) -> Scenario:
    """The scenario in a text; `source` names it in problems. Raises `ConfigError`."""
    listeners = [listener.name for listener in config.listeners]
    form = Form(Scenario, _NOUN, lambda scenario, invalid: conflicts(scenario, invalid, listeners), {"duration": "1s"})
    return parse_form(form, text, source, environ).values

"""What the tests of the simulator share: a configuration, and short ways to a scenario and its run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from mta.config.loading import parse as parse_config
from mta.config.schema import Config
from mta.sim.loading import parse
from mta.sim.scenario import Scenario

ROOT = Path(__file__).parents[2]
CONFIG = """\
hostname = "mx.test"
[[listener]]
name = "relay"
endpoint = "tcp:2525:interface=127.0.0.1"
role = "mx"
[relay]
networks = ["127.0.0.0/8"]
"""


def configuration(more: str = "") -> Config:
    """The configuration of a small relay; `more` is TOML behind it."""
    return parse_config(CONFIG + more, "mta.toml", {})


def scenario(text: str, config: Config | None = None) -> Scenario:
    """A scenario from its text."""
    return parse(text, "s.toml", os.environ, config or configuration())


def without_matplotlib(test: SynchronousTestCase) -> None:
    """Let matplotlib be missing for the rest of a test."""
    hidden: ModuleType | None = sys.modules.get("matplotlib")
    sys.modules["matplotlib"] = None  # type: ignore[assignment]

    def show() -> None:
        if hidden is None:
            del sys.modules["matplotlib"]
        else:
            sys.modules["matplotlib"] = hidden

    test.addCleanup(show)

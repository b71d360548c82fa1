"""
`mta simulate`: what would happen to the mail if ...

Owns: reading what is asked for, the progress bar, how the report is printed.
Never: counts anything (`mta/sim/` does); touches the operator's state: state_dir is a temporary directory, the present
queue is copied.

The simulator is the whole MTA, Twisted and all: it is imported when a run begins, so that no other command pays for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

import click

from mta.cli import columns
from mta.cli.configuration import config_option, loaded
from mta.cli.failure import CommandError

if TYPE_CHECKING:
    from mta.config.schema import Config
    from mta.sim.scenario import Scenario
    from mta.sim.simulation import Result, Simulation


@click.command()
@click.argument("scenario", metavar="[SCENARIO.toml]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all of it.")
@click.option("--plot", metavar="FILE", help="Draw the queue's depth over time; FILE ends in .svg or .png.")
@click.option("--seed", type=click.IntRange(0), help="Another seed than the scenario's.")
@click.option("--duration", metavar="TIME", help='Another duration than the scenario\'s, such as "12h".')
@click.option("--from-queue", is_flag=True, help="Begin now, with a copy of the present queue, and forecast it.")
@config_option
def simulate(
    config: str | None,
    scenario: str | None,
    as_json: bool,
    plot: str | None,
    seed: int | None,
    duration: str | None,
    from_queue: bool,
) -> int:
    """
    Run the whole MTA in a world that does not exist, with your configuration, and tell what becomes of the mail.

    The scenario says what the world is like, what mail is sent and what goes wrong; docs/simulate.md explains it, and
    etc/scenarios/ has some to begin with. Nothing real is touched: no network, no DNS, no file of the daemon.
    """
    if scenario is None and not from_queue:
        raise click.UsageError("name a scenario, or use --from-queue")
    picture = _picture(plot)
    changes: dict[str, object] = {} if seed is None else {"seed": seed}
    if duration is not None:
        changes["duration"] = _duration(duration)
    checked = loaded(config)
    chosen = _scenario(scenario, checked)
    run = _prepared(checked, chosen, changes, from_queue=from_queue)
    with run:
        result = _run(run)
        # What was in the queue before has no beginning in the run's events, which the judgement needs.
        found = None if from_queue else _broken(result)
        _print(result, found, as_json=as_json, forecast=from_queue)
        if picture is not None:
            _draw(picture, result)
    return os.EX_SOFTWARE if found else os.EX_OK


def _picture(plot: str | None) -> Path | None:
    """The file for the chart; looked at before the run, which may be long."""
    if plot is None:
        return None
    from mta.sim import chart

    path = Path(plot)
    if path.suffix.lower() not in chart.FORMATS:
        raise click.BadParameter(f'"{plot}" does not end in {" or ".join(chart.FORMATS)}', param_hint="--plot")
    try:
        chart.available()
    except chart.ChartError as error:
        raise CommandError(str(error), os.EX_UNAVAILABLE) from None
    return path


def _duration(text: str) -> float:
    from mta.config.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--duration") from None
    if seconds <= 0:
        raise click.BadParameter("must be longer than 0s", param_hint="--duration")
    return seconds


def _scenario(path: str | None, config: Config) -> Scenario | None:
    if path is None:
        return None
    from mta.config.loading import ConfigError
    from mta.sim.loading import load

    try:
        return load(Path(path), os.environ, config)
    except ConfigError as error:
        raise CommandError(str(error), os.EX_DATAERR if Path(path).exists() else os.EX_NOINPUT) from None


def _prepared(config: Config, scenario: Scenario | None, changes: dict[str, object], *, from_queue: bool) -> Simulation:
    """The run that is asked for. With the present queue it begins now."""
    from mta.sim.simulation import Simulation

    if not from_queue:
        assert scenario is not None
        return Simulation(config, scenario.model_copy(update=changes))
    from mta.sim import forecast
    from mta.spool.errors import SpoolError
    from mta.spool.schema import FILE_NAME

    try:
        present = forecast.copy(config.state_dir / FILE_NAME)
    except SpoolError as error:
        raise CommandError(str(error), os.EX_UNAVAILABLE) from None
    world = forecast.world_of(present, scenario, config).model_copy(update=changes)
    return Simulation(config, world, present.database, time.time())


def _run(simulation: Simulation) -> Result:
    """Run to the end, or to Ctrl-C, with a progress bar where somebody sees it."""
    from mta.sim.simulation import Stopped

    with _stopping(simulation.stop), _progress() as progress:
        try:
            return simulation.run(progress)
        except Stopped:
            raise KeyboardInterrupt from None


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """
    Let Ctrl-C stop the run between two steps; a second one ends the command at once.

    An exception in the middle of a step would be caught, as every fault of ours is, and become a deferral.
    """

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """What is told which share of the run is over: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _share: None
        return
    steps = 1000
    with click.progressbar(length=steps, label="simulating", file=sys.stderr) as bar:
        yield lambda share: bar.update(round(share * steps) - bar.pos)


def _broken(result: Result) -> list[str]:
    """The promises of the MTA that were broken."""
    from mta.sim.invariants import violations

    return list(map(str, violations(result)))


def _print(result: Result, broken: list[str] | None, *, as_json: bool, forecast: bool) -> None:
    if not as_json:
        write_report(result, broken, forecast=forecast)
        return
    from mta.sim.report import as_json as told
    from mta.sim.timeline import timeline
    from mta.sim.totals import totals

    figures = totals(result)
    click.echo(json.dumps(told(figures, timeline(result, figures), broken, result.start)))


def write_report(result: Result, broken: list[str] | None, *, forecast: bool, out: TextIO | None = None) -> None:
    """Print the report as tables; docs/simulate.md shows what this prints."""
    from mta.sim.report import blocks
    from mta.sim.timeline import timeline
    from mta.sim.totals import totals

    out = out or sys.stdout
    figures = totals(result)
    since = columns.time(result.start, out) if forecast else ""
    first = True
    for block in blocks(figures, timeline(result, figures), broken, since):
        if not block.rows:
            continue
        out.write(f"{'' if first else chr(10)}{block.title}\n")
        columns.write(block.headings, block.rows, out)
        first = False


def _draw(path: Path, result: Result) -> None:
    from mta.sim import chart
    from mta.sim.ledger import Happening
    from mta.sim.totals import totals

    marks = [Happening(each.at - result.start, each.text) for each in result.ledger.happenings]
    try:
        chart.draw(path, result.scenario.about or "The queue", totals(result), marks)
    except chart.ChartError as error:
        raise CommandError(str(error), os.EX_CANTCREAT) from None

"""
Draw the depth of the queue over time.

Owns: the picture, as SVG or PNG by the ending of its file.
Never: imported for anything else: matplotlib takes most of a second to load, and need not be there.
Fails: `ChartError` where it is not, or where the file can't be written.

The same run gives the same file: no date stands in it, and the names in an SVG come from a fixed salt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mta.sim.ledger import Happening
from mta.sim.report import thinned
from mta.sim.timeline import clock
from mta.sim.totals import Totals

FORMATS = (".svg", ".png")
# Steps that can be told apart on a picture, and words on it that can be read.
_MAX_STEPS, _MAX_MARKS = 2000, 12
_UNITS = ((2 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"))


class ChartError(Exception):
    """There is no picture, and why."""


def available() -> Any:
    """matplotlib. Raises `ChartError` that says how to install it."""
    try:
        import matplotlib
    except ImportError:
        raise ChartError("a chart needs matplotlib; install it with: pip install 'mta[plot]'") from None
    return matplotlib


def draw(path: Path, title: str, totals: Totals, happenings: Sequence[Happening]) -> None:
    """Write the chart; `happenings` are marked in it, at seconds since the begin."""
    matplotlib = available()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    steps = thinned(totals.depth, totals.duration, _MAX_STEPS)
    # Up to a little behind the last thing that happens: the rest is a line at the bottom.
    last = max([steps[-1][0], *(mark.at for mark in happenings)])
    end = totals.duration if steps[-1][1] else min(totals.duration, last * 1.05 + 1)
    scale, unit = next(((seconds, name) for least, seconds, name in _UNITS if end >= least), (1.0, "seconds"))
    times = [at / scale for at, _depth in steps] + [end / scale]
    depths = [depth for _at, depth in steps] + [steps[-1][1]]
    with matplotlib.rc_context({"svg.hashsalt": "mta", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        axes.fill_between(times, depths, step="post", alpha=0.3, linewidth=0)
        axes.step(times, depths, where="post", linewidth=1.2)
        marks = happenings[:_MAX_MARKS]
        for number, mark in enumerate(marks, 1):
            # Numbers in two rows, so that what happens soon after one another can be read; the words stand beside.
            at, above = mark.at / scale, (0, 2 + 9 * (number % 2))
            label = f"{number}  {clock(mark.at)}  {mark.text}"
            axes.axvline(at, color="0.4", linewidth=0.8, linestyle="--", label=label)
            axes.annotate(
                str(number), (at, 1), xytext=above, xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="center", fontsize=7,
            )  # fmt: skip
        if marks:
            figure.legend(loc="outside lower left", fontsize=7, handlelength=0, frameon=False)
        axes.set_title(title, loc="left", pad=22 if marks else None)
        axes.set_xlabel(f"{unit} since the begin")
        axes.set_ylabel("recipients in the queue")
        axes.set_xlim(0, end / scale)
        axes.set_ylim(0, max(1, totals.longest) * 1.05)
        is_svg = path.suffix.lower() == ".svg"
        # Without its date; PNG has none.
        metadata = {"Date": None} if is_svg else {}
        canvas = FigureCanvasSVG(figure) if is_svg else FigureCanvasAgg(figure)
        try:
            canvas.print_figure(path, metadata=metadata)
        except OSError as error:
            raise ChartError(f"{path}: cannot write the chart: {error.strerror or error}") from None

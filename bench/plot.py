"""
Draw results: ``python -m bench.plot bench/results/NAME.json [PICTURE.svg]``.

Owns: two kinds of pictures in one file: ratios to Postfix as bars, the growth of the queue as a curve.
Fails: with a sentence where matplotlib is missing (the extra `plot`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench.figures import Figure, Results, read
from bench.servers import OURS, OURS_2


def draw(results: Results, path: Path) -> None:
    """Write the picture to `path`, in the format of its suffix."""
    import matplotlib  # not at import: the rest of the benchmark does without

    matplotlib.use("Agg")
    from matplotlib import pyplot

    compared = [figure for figure in results.figures if figure.ratio() or figure.ratio(OURS_2)]
    curve = [figure for figure in results.figures if figure.x is not None and figure.unit == "messages/s"]
    heights = [max(1.0, 0.3 * len(compared)), 3.0]
    whole, (bars, growth) = pyplot.subplots(
        2, 1, figsize=(10, sum(heights) + 1), gridspec_kw={"height_ratios": heights}, layout="constrained"
    )
    _draw_ratios(bars, compared)
    _draw_growth(growth, curve)
    whole.suptitle(", ".join(results.machine.get(key, "") for key in ("processor", "memory", "kernel")), fontsize=9)
    whole.savefig(path)
    pyplot.close(whole)


def _draw_ratios(axes: Any, figures: list[Figure]) -> None:
    titles = [figure.title for figure in figures]
    places = range(len(figures))
    axes.barh([place - 0.2 for place in places], [figure.ratio() or 0 for figure in figures], 0.4, label=OURS)
    if any(figure.ratio(OURS_2) for figure in figures):
        theirs = [figure.ratio(OURS_2) or 0 for figure in figures]
        axes.barh([place + 0.2 for place in places], theirs, 0.4, label=OURS_2)
    axes.set_yticks(list(places), titles, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("times better than Postfix in the same run")
    axes.legend(fontsize=8)


def _draw_growth(axes: Any, figures: list[Figure]) -> None:
    # A logarithm has no place for the empty queue: it stands at 1.
    axes.plot([figure.x or 1 for figure in figures], [figure.value(OURS) for figure in figures], marker="o")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("deferred recipients in the queue")
    axes.set_ylabel("messages/s")


def main() -> int:
    """Draw; the exit code."""
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 64
    source = Path(sys.argv[1])
    picture = Path(sys.argv[2]) if len(sys.argv) == 3 else source.with_suffix(".svg")
    try:
        draw(read(source), picture)
    except ModuleNotFoundError as error:
        print(f"{error}: install the extra plot (pip install -e '.[plot]')", file=sys.stderr)
        return 69
    print(picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

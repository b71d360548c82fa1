"""
Run the benchmark: ``python -m bench``, or ``make bench``.

Owns: the options, the rows' order, the table as it grows, the end in any case: processes, folders, results so far.
"""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import machine
from bench.figures import Figure, Results, spelled
from bench.processes import UnavailableError
from bench.rows import ROWS
from bench.run import Run
from bench.servers import OURS, OURS_2, POSTFIX, SYSTEMS

RESULTS = Path(__file__).parent / "results"
# A tenth of the messages, one round.
QUICK = 0.1


def main(words: list[str] | None = None) -> int:
    """Measure, print, write the results. The exit code: 130 where it was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure beside Postfix in the same run.")
    parser.add_argument("--rows", default="", help=f"some of {', '.join(ROWS)}, with commas between (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, one round")
    parser.add_argument("--share", type=float, help="the share of the messages (default 1, quick 0.1)")
    parser.add_argument("--rounds", type=int, help="rounds, of which the median counts (default 3, quick 1)")
    parser.add_argument("--only", choices=("mta", "mta2", "postfix"), help="measure one of them")
    parser.add_argument("--out", type=Path, help="the file of results (default: bench/results/TIME.json)")
    parser.add_argument("--top", type=Path, default=Path("/var/tmp"), help="where the spools are (default /var/tmp)")
    options = parser.parse_args(words)
    names = [name.strip() for name in options.rows.split(",") if name.strip()] or list(ROWS)
    if unknown := sorted(set(names) - set(ROWS)):
        parser.error(f"unknown rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
    only = {"mta": [OURS], "mta2": [OURS_2], "postfix": [POSTFIX], None: list(SYSTEMS)}[options.only]
    out = options.out or RESULTS / time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime())
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the MTAs inherit it
    # As Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))

    began = time.monotonic()
    figures: list[Figure] = []
    # Not under the user's own temporary folder: Postfix's processes run as another user.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.top, ignore_cleanup_errors=True) as folder:
        top = Path(folder)
        top.chmod(0o755)
        facts = machine.described(top)
        print("\n".join(f"{name}: {fact}" for name, fact in facts.items()), flush=True)
        run = Run(
            top,
            only,
            rounds=options.rounds or (1 if options.quick else 3),
            share=options.share or (QUICK if options.quick else 1.0),
        )
        print(f"\n{'':66}{'':14}{'mta':>10}{'2 workers':>10}{'postfix':>10}{'ratio':>10}{'ratio of 2':>11}", flush=True)
        try:
            told = {"not asked for"}
            for name in names:
                _measure(name, run, figures, told)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        finally:
            Results(facts, options.quick or run.share < 1, tuple(figures)).write(out)
            print(f"{len(figures)} figures in {time.monotonic() - began:.0f} s, in {out}", flush=True)
    return 0


def _measure(name: str, run: Run, figures: list[Figure], told: set[str]) -> None:
    """One row; what can't be measured at all is said, and the others go on. `told` are the reasons said before."""
    try:
        for figure in ROWS[name](run):
            figures.append(figure)
            print(_line(figure), flush=True)
            for system, reason in figure.reasons.items():
                if reason not in told:
                    print(f"    {system}: {reason}", flush=True)
                    told.add(reason)
    except (UnavailableError, OSError, subprocess.SubprocessError) as error:
        print(f"    no more of {name}: {error}", flush=True)


def _line(figure: Figure) -> str:
    cells = "".join(f"{spelled(figure.value(system)):>10}" for system in SYSTEMS)
    ratios = (f"{found:.2f}x" if (found := figure.ratio(system)) else "" for system in (OURS, OURS_2))
    return f"{figure.title:66}{figure.unit:14}{cells}{'{:>10}{:>11}'.format(*ratios)}".rstrip()


if __name__ == "__main__":
    raise SystemExit(main())

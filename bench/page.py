"""
Render docs/performance.md from a file of results: ``python -m bench.page RESULTS.json > docs/performance.md``.

Owns: the words around the table.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, Results, by_row, read, spelled
from bench.servers import OURS, OURS_2, POSTFIX, SYSTEMS

# What each row's part is called, and what a reader should know of it.
TITLES = {
    "relay": ("Relay", "From `smtp-source` through the MTA to `smtp-sink`, until the last message is there."),
    "latency": ("Latency at low load", "At one fifth of what the slowest of them relays, the same pace for all."),
    "tls": (
        "TLS",
        "The same clients for all. Each connection has a full handshake, but where it says resumed.",
    ),
    "costs": ("What a message costs", "4 KB, 20 sessions."),
    "large": ("Large messages at once", ""),
    "fanout": ("Fan-out", ""),
    "local": ("Local delivery", ""),
    "bounces": ("Bounce storm", "Until the sender's host has every bounce."),
    "idle": ("Idle sessions", ""),
    "queue": ("A long queue", "Deferred recipients, one a message, due later. The last lines must be flat."),
    "dead": ("A dead site", "All that waits for it is due at once, finds it dead and is put off."),
    "micro": ("Parts", "For comparing one version with another."),
}

_HEAD = """\
# Performance

The table of `make bench`, beside a Postfix from Debian's packages in the same run: its own instance with its default
settings, on the same disk and loopback interface. Ours has its default configuration too. Where a row needs what a
default forbids (5,000 recipients, 50 MB), both are told so.

The figures of a line were taken in turns, and each is the median of its rounds. They are worth something beside each
other alone: another machine has other figures. *Ratio* says how many times better than Postfix: above 1 is ahead of it,
whether more or less of the unit is better.

Rendered by `python -m bench.page RESULTS.json`; `python -m bench.plot RESULTS.json` draws the same.
"""


def render(results: Results) -> str:
    """The page."""
    lines = [_HEAD]
    if results.quick:
        lines.append("This was a quick run with few messages: take the figures with a grain of salt.\n")
    lines.append("| the machine | |\n|---|---|")
    lines += [f"| {name} | {fact} |" for name, fact in results.machine.items()]
    for row, figures in by_row(results.figures).items():
        title, about = TITLES.get(row, (row, ""))
        lines.append(f"\n## {title}\n")
        if about:
            lines.append(f"{about}\n")
        lines += _table(figures)
    return "\n".join(lines) + "\n"


def _table(figures: Sequence[Figure]) -> list[str]:
    """The columns that have a value, and below the table why others have none."""
    systems = [system for system in SYSTEMS if any(figure.value(system) is not None for figure in figures)]
    ratios = [system for system in (OURS, OURS_2) if any(figure.ratio(system) for figure in figures)]
    heads = ["", "unit", *systems, *(f"ratio of {system}" for system in ratios)]
    lines = [f"| {' | '.join(heads)} |", f"|---|---|{'--:|' * (len(systems) + len(ratios))}"]
    for figure in figures:
        cells = [figure.title, figure.unit, *(spelled(figure.value(system)) for system in systems)]
        cells += [f"{found:.2f}" if (found := figure.ratio(system)) else "" for system in ratios]
        lines.append(f"| {' | '.join(cells)} |")
    notes = {figure.note for figure in figures if figure.note}
    notes |= {
        f"{system}: {figure.reason(system)}"
        for figure in figures
        for system in (OURS_2, POSTFIX)
        if figure.value(system) is None and figure.reason(system)
    }
    return [*lines, *(f"\n{note[0].upper() if note[:3] != OURS else note[0]}{note[1:]}." for note in sorted(notes))]


def main() -> None:
    """Print the page."""
    print(render(read(Path(sys.argv[1]))), end="")


if __name__ == "__main__":
    main()

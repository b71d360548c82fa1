"""Render the table of filters in docs/queue.md from `mta/selection.py`: ``python -m mta.cli.filterpage``."""

from __future__ import annotations

from pathlib import Path

from mta.selection import FILTERS

PAGE = Path("docs/queue.md")
_BEGIN = "<!-- filters: generated from mta/selection.py by `make docs` -->\n"
_END = "<!-- end of filters -->\n"


def rendered(page: str) -> str:
    """The page with its table as it is to be."""
    before, begin, rest = page.partition(_BEGIN)
    _old, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no place for the filters")
    rows = (
        f"| `--{each.name} {each.metavar}` | {_cell(each.help)} | {'yes' if each.foresees else ''} |\n"
        for each in FILTERS
    )
    table = "| filter | recipients | rules for mail to come |\n|---|---|---|\n" + "".join(rows)
    return before + begin + table + end + after


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text()))

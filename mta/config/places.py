"""
Name a place of the configuration's file, for what is found only after the file was read.

Owns: the way from a location to words such as ``etc/mta.toml:7: listener 1: tls``.
Never: finds anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mta.config.lines import LineIndex, Location
from mta.config.loading import CONFIGURATION, ConfigError, read
from mta.config.messages import spelled_key


def placed(source: str, findings: Iterable[tuple[Location, str]]) -> Iterator[str]:
    """Each finding with the file, the line and the key that it is about; `source` is the file that was loaded."""
    lines: LineIndex | None = None
    for location, words in findings:
        if lines is None:
            lines = _lines(source)
        yield f"{source}:{lines.find(location)}: {spelled_key(location, CONFIGURATION.root)}: {words}"


def _lines(source: str) -> LineIndex:
    try:
        return LineIndex(read(Path(source), CONFIGURATION.noun).replace("\r\n", "\n"))
    except (ConfigError, ValueError):  # it was loaded a moment ago; who changes it now is told line 1
        return LineIndex("")

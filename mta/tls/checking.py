"""
Check what the configuration says of TLS, for `mta check`.

Owns: opening certificates, keys and authorities as a start does, and what is told of them.
Never: imports Twisted, changes anything.
"""

from __future__ import annotations

from mta.config.schema import Config
from mta.tls.configured import files, terms
from mta.tls.contexts import Contexts
from mta.tls.pairs import DAY, Pair, PairError, read


def look(config: Config, now: float) -> tuple[list[str], list[str]]:
    """What would keep TLS from working, and what is to be told otherwise, a line each; `now` in seconds since 1970."""
    problems, told, pairs = [], [], []
    for number, each in enumerate(files(config), 1):
        try:
            pair = read(each)
        except PairError as error:
            problems.append(f"tls.certificates {number}: {error}")
            continue
        pairs.append(pair)
        told.append(_line(pair, now))
        told += [f"warning: {warning}" for warning in pair.warnings(now)]
    try:
        wanted = terms(config)
        if pairs:
            Contexts(pairs, wanted)
    except PairError as error:
        problems.append(str(error))
    return [f"{config.source}: {problem}" for problem in problems], told


def _line(pair: Pair, now: float) -> str:
    names = ", ".join(pair.names) or "no host name"
    return f"{pair.files.certificate}: {pair.kind} for {names}, expires in {(pair.expires - now) / DAY:.0f} days"

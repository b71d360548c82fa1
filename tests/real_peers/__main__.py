"""
Print which extensions work with which peers: `python -m tests.real_peers`, a Markdown table of what the tests found.

Exits with 1 where something failed; a peer that is not installed shows as "not run", with the reason; "not yet" is
a known fault of ours.
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator
from itertools import groupby

from tests.real_peers import (
    test_auth,
    test_chain,
    test_clients,
    test_dovecot,
    test_exim,
    test_exim_tls,
    test_mechanisms,
    test_postfix,
    test_postfix_tls,
    test_proxies,
    test_sinks,
    test_sts_site,
    test_tls,
    test_tls_clients,
    test_tokens,
)
from tests.real_peers.crossing import Crossing

_MODULES = (
    test_postfix,
    test_postfix_tls,
    test_exim,
    test_exim_tls,
    test_dovecot,
    test_clients,
    test_auth,
    test_mechanisms,
    test_sinks,
    test_tls,
    test_proxies,
    test_tls_clients,
    test_sts_site,
    test_chain,
    test_tokens,
)


def crossings() -> Iterator[tuple[Crossing, unittest.TestCase]]:
    """All marked tests."""
    for module in _MODULES:
        for suite in unittest.defaultTestLoader.loadTestsFromModule(module):
            assert isinstance(suite, unittest.TestSuite)
            for case in suite:
                assert isinstance(case, unittest.TestCase)
                marked = getattr(getattr(case, case.id().rpartition(".")[2]), "crossing", None)
                if marked:
                    yield marked, case


def ran(case: unittest.TestCase) -> str:
    """Run one test; a word for the table. What failed goes to the standard error."""
    result = unittest.TestResult()
    case.run(result)
    for _, trouble in result.failures + result.errors:
        sys.stderr.write(f"{case.id()}\n{trouble}\n")
    if result.skipped:
        return f"not run: {result.skipped[0][1]}"
    # trial tells unittest's results nothing of an expected failure.
    if result.wasSuccessful() and getattr(getattr(case, case.id().rpartition(".")[2]), "todo", None):
        return "not yet"
    return "yes" if result.wasSuccessful() else "**no**"


def table(results: list[tuple[Crossing, str]]) -> str:
    """Markdown: a line for each peer, direction and result, with the extensions it holds for."""
    lines = ["| peer | direction | extensions | works |", "|---|---|---|---|"]
    for (peer, direction, result), group in groupby(results, lambda row: (row[0].peer, row[0].direction, row[1])):
        extensions = dict.fromkeys(extension for crossed, _ in group for extension in crossed.extensions)
        lines.append(f"| {peer} | {direction} | {', '.join(extensions)} | {result} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run all of it; the exit code."""
    results = [(marked, ran(case)) for marked, case in crossings()]
    results.sort(key=lambda row: (row[0].peer.lower(), row[0].direction, row[1]))
    sys.stdout.write(table(results))
    return any(result == "**no**" for _, result in results)


if __name__ == "__main__":
    sys.exit(main())

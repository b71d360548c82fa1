"""
Print "N passed, N failed, N skipped" from the log of a trial run.

Exits with 1 where a test failed, or where trial did not get to its result.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# trial's last line: "PASSED (skips=2, successes=310)", "FAILED (failures=1, errors=1, successes=7)".
_RESULT = re.compile(r"^(PASSED|FAILED)(?: \((.*)\))?$", re.MULTILINE)


def summarise(log: str) -> tuple[str, bool]:
    """The line, and whether all is well. `log` is the whole output of trial."""
    results = _RESULT.findall(log)
    if not results:
        return "0 passed, 1 failed, 0 skipped", False
    verdict, words = results[-1]
    counts = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", words)}
    passed = counts.get("successes", 0) + counts.get("expectedFailures", 0)
    failed = sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    return f"{passed} passed, {failed} failed, {counts.get('skips', 0)} skipped", verdict == "PASSED" and passed > 0


if __name__ == "__main__":
    path = Path(sys.argv[1])
    line, well = summarise(path.read_text(errors="replace") if path.exists() else "")
    sys.stdout.write(f"{line}\n")
    sys.exit(not well)

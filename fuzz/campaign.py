"""
Fuzz some targets, each in a process of its own.

Owns: libFuzzer's options, what its output means, and what becomes of a finding.
Never: imports what is fuzzed, except to make a finding smaller.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.finding import CORPUS, keep

# Octets of an input. Long texts come from short ones (`fuzz.input.text`); longer inputs only make the search slow.
LONGEST = 2048
# MiB, and seconds of the clock: the budget of `fuzz.finding` strikes long before, however busy the machine is.
MEMORY = 1024
TIMEOUT = 120
# Seconds for importing and for the corpus, on top of those asked for.
START = 300

_STATUS = re.compile(r"^#(\d+)\t.*?cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
_EXECUTED = re.compile(r"^(?:stat::number_of_executed_units: +|#)(\d+)", re.MULTILINE)
_EXCEPTION = re.compile(r"^ === Uncaught Python exception: ===\n(.*)", re.MULTILINE)
_MEMORY = re.compile(r"^stat::peak_rss_mb: +(\d+)", re.MULTILINE)


@dataclass
class Result:
    """
    What one target's run came to: counts of inputs, edges covered at the start and the end, inputs found useful.

    `words` are those of the exception that was found, or libFuzzer's own; `trouble` says why the run was none.
    """

    target: str
    executed: int = 0
    covered: tuple[int, int] = (0, 0)
    useful: int = 0
    memory: int = 0
    findings: list[Path] = field(default_factory=list)
    words: str = ""
    trouble: str = ""

    def __str__(self) -> str:
        """One line."""
        if self.trouble:
            return f"{self.target:18} did not run: {self.trouble}"
        first, last = self.covered
        found = f"{len(self.findings)} found" if self.findings else "nothing found"
        return (
            f"{self.target:18} {self.executed:9,} executions, {first} -> {last} edges, {self.useful} inputs kept, "
            f"{self.memory} MiB, {found}"
        )


def run(targets: list[str], seconds: int, runs: int, seed: int, jobs: int, grown: Path | None) -> Iterator[Result]:
    """
    Fuzz each target for so long, with `runs` inputs at most where that is not 0; results in the order of the targets.

    With `runs` the same seed makes the same inputs, however fast the machine is.


    `grown` is where inputs that reach new code are kept for the next run; None forgets them, so that the same seed
    begins at the same place. Findings go into the corpus.
    """
    with ThreadPoolExecutor(jobs) as pool, tempfile.TemporaryDirectory() as scratch:
        for result, inputs in pool.map(lambda name: _run(name, seconds, runs, seed, Path(scratch), grown), targets):
            # Here and not in a thread: the bound of time needs a signal.
            result.findings = [keep(result.target, found) for found in inputs]
            yield result


def _run(
    name: str, seconds: int, runs: int, seed: int, scratch: Path, grown: Path | None
) -> tuple[Result, list[bytes]]:
    """One target's result, and the inputs that it failed on."""
    useful = (grown or scratch / "grown") / name
    artifacts = scratch / "artifacts" / name
    seeds = CORPUS / name
    for folder in (useful, artifacts, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "fuzz.instrumented", name, str(useful), str(seeds)),
        *(f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LONGEST}", f"-timeout={TIMEOUT}"),
        *((f"-runs={runs}",) if runs else ()),
        *(f"-rss_limit_mb={MEMORY}", f"-artifact_prefix={artifacts}/", "-print_final_stats=1"),
    ]
    # The order of sets is chance that no seed governs. libFuzzer ends the process and leaves temporary files behind.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "TMPDIR": str(scratch)}
    try:
        ran = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + START,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Result(name, trouble=f"it did not end within {START} s of its time"), []
    result = _read(name, ran.stderr)
    found = sorted(artifacts.iterdir())
    inputs = [artifact.read_bytes() for artifact in found]
    if found and not result.words:  # no exception: libFuzzer itself has ended it, with a name for why
        result.words = f"libFuzzer's word for it: {', '.join(artifact.name.partition('-')[0] for artifact in found)}"
    if ran.returncode and not inputs:
        result.trouble = (ran.stderr.strip().splitlines() or ["no word"])[-1]
    return result, inputs


def _read(name: str, output: str) -> Result:
    """The result that libFuzzer's output tells."""
    result = Result(name)
    if steps := _STATUS.findall(output):
        result.covered = int(steps[0][1]), int(steps[-1][1])
        result.useful = int(steps[-1][3])
    result.executed = max(map(int, _EXECUTED.findall(output)), default=0)
    if found := _EXCEPTION.search(output):
        result.words = found[1]
    if found := _MEMORY.search(output):
        result.memory = int(found[1])
    return result

"""Run a crash campaign, a line for each kill, a table at the end; exit code 1 where anything is wrong."""

from __future__ import annotations

import argparse
import sys
import time

from tests.campaigns.crash.campaign import Course, run
from tests.campaigns.crash.ledger import Cause, Verdict


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="how often the daemon is killed (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments, the load, the sites (default 1)")
    parser.add_argument("--clients", type=int, default=6, help="clients at once (default 6)")
    parser.add_argument("--longest-life", type=float, default=3.0, help="seconds it lives at most (default 3)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes of the daemon (default 1)")
    arguments = parser.parse_args()
    course = Course(
        arguments.kills, arguments.seed, arguments.clients, arguments.longest_life, workers=arguments.workers
    )
    print(
        f"crash campaign: {course.kills} kills, {course.clients} clients, {course.workers} workers, seed {course.seed}",
        flush=True,
    )
    began = time.monotonic()
    verdict = run(course, lambda line: print(line, flush=True))
    print(f"\n{table(verdict)}\ntook {time.monotonic() - began:.0f} s")
    return 0 if verdict.good else 1


def table(verdict: Verdict) -> str:
    """The verdict for people."""
    rows: list[tuple[str, int | str]] = [
        ("messages acknowledged with 250", verdict.acknowledged),
        ("messages cut off before their reply", verdict.unanswered),
        ("recipients owed", verdict.owed),
        ("recipients that got their message", verdict.arrived),
        ("  of them never acknowledged to the client", verdict.unasked),
        ("recipients still in the queue, whole", verdict.in_queue),
        ("LOST", len(verdict.lost)),
        ("TORN (content is not what was sent)", len(verdict.torn)),
        ("duplicates", verdict.doubled.total()),
        *((f"  {cause.value}", verdict.doubled[cause]) for cause in Cause),
        ("longest from a reply to the kill that doubled it", f"{verdict.longest_in_flight:.2f} s"),
    ]
    lines = [f"{name:62}{value:>8}" for name, value in rows]
    for title, keys in (("lost", verdict.lost), ("torn", verdict.torn), ("doubled", verdict.unexplained)):
        lines += [f"{title}: message {token} for {recipient}" for token, recipient in keys[:20]]
    lines.append("nothing is lost" if verdict.good else "THIS MUST NOT HAPPEN")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

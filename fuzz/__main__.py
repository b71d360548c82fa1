"""
``python -m fuzz``: run the targets, replay an input, list what there is. docs/testing.md explains each.

The exit code is 1 when something was found, and 2 when a target could not run.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from fuzz.finding import failure, find, names


def _replay(paths: list[Path]) -> int:
    """Run the target that each file belongs to, by the name of its folder, on the file."""
    broken = 0
    for path in paths:
        error = failure(find(path.resolve().parent.name), path.read_bytes())
        print(f"{path}: {'holds' if error is None else 'FAILS'}")
        if error is not None:
            traceback.print_exception(error)
            broken = 1
    return broken


def _run(arguments: argparse.Namespace) -> int:
    # Here alone: replaying needs no process, nor the package that `fuzz.instrumented` imports.
    from fuzz.campaign import run

    code = 0
    targets = arguments.target or names()
    for result in run(targets, arguments.seconds, arguments.runs, arguments.seed, arguments.jobs, arguments.keep):
        print(result, flush=True)
        if result.words:
            print(f"    {result.words[:200]}")
        for path in result.findings:
            shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            print(f"    python -m fuzz replay {shown}", flush=True)
        code = max(code, 2 if result.trouble else 1 if result.findings else 0)
    return code


def main() -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Look for input that breaks a property.")
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="fuzz targets, all by default")
    runs.add_argument("target", nargs="*", choices=[[], *names()], metavar="TARGET")
    runs.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    runs.add_argument("--runs", type=int, default=0, help="inputs for each target at most (default: 0, any number)")
    runs.add_argument("--seed", type=int, default=1, help="of the search (default: 1)")
    runs.add_argument("--jobs", type=int, default=2, help="targets at the same time (default: 2)")
    runs.add_argument("--keep", type=Path, help="a folder for inputs that reach new code, used again by the next run")
    replays = commands.add_parser("replay", help="run a file of tests/corpus/TARGET through its target")
    replays.add_argument("file", nargs="+", type=Path)
    commands.add_parser("list", help="name the targets")
    arguments = parser.parse_args()
    if arguments.command == "replay":
        return _replay(arguments.file)
    if arguments.command == "list":
        print(*names(), sep="\n")
        return 0
    return _run(arguments)


if __name__ == "__main__":
    sys.exit(main())

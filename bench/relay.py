"""
Messages a second from smtp-source through the MTA to smtp-sink, beside Postfix in the same run.

The clock starts with the first connection and stops when the sink has counted every message, so what is measured is
acceptance, the durable queue and the delivery together. The two take turns, and the best of the rounds counts: the
machine's other work can only make a number smaller.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.processes import Sink, UnavailableError, our_daemon, postfix, program, sink, wait_for

# (what it is called, the options of smtp-source): one message a connection, and many (-d).
MODES: tuple[tuple[str, list[str]], ...] = (("a connection each", []), ("connections reused", ["-d"]))


def measured(port: int, counter: Sink, messages: int, options: list[str], timeout: float) -> float:
    """Messages a second, end to end."""
    before = counter.count()
    command = [program("smtp-source"), "-s", "20", "-m", str(messages), "-l", "4096", *options]
    command += ["-f", "sender@bench.test", "-t", "recipient@sink.test", f"127.0.0.1:{port}"]
    began = time.monotonic()
    subprocess.run(command, check=True, timeout=timeout)
    wait_for(lambda: counter.count() - before >= messages, timeout, "the delivery of all messages")
    return messages / (time.monotonic() - began)


def main() -> None:
    """Run and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000, help="messages in a round (default 5000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds for each (default 3)")
    parser.add_argument("--timeout", type=float, default=120, help="seconds a round may take (default 120)")
    parser.add_argument("--only", choices=("mta", "postfix"), help="measure one of the two")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        # Not under the user's own temporary folder: Postfix's processes run as another user.
        top = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp", ignore_cleanup_errors=True)
            )
        )
        top.chmod(0o755)
        counter, sink_port = stack.enter_context(sink(top))
        servers: dict[str, int] = {}
        starts: dict[str, Callable[[], int]] = {
            "mta": lambda: stack.enter_context(our_daemon(top, f"smtp://127.0.0.1:{sink_port}"))[1],
            "postfix": lambda: stack.enter_context(postfix(top / "postfix", sink_port)),
        }
        for name, start in starts.items():
            if arguments.only in (None, name):
                try:
                    servers[name] = start()
                except UnavailableError as error:
                    print(f"{name} is left out: {error}")
        print(f"messages/s to the sink: {arguments.messages} messages of 4096 octets, 20 sessions,")
        print(f"best of {arguments.rounds} rounds, taking turns\n")
        print(f"{'':22}{'mta':>9}{'postfix':>9}{'ratio':>8}")
        for title, options in MODES:
            best = dict.fromkeys(servers, 0.0)
            for _ in range(arguments.rounds):
                for name, port in servers.items():
                    rate = measured(port, counter, arguments.messages, options, arguments.timeout)
                    best[name] = max(best[name], rate)
            print(_line(title, best.get("mta"), best.get("postfix")), flush=True)


def _line(title: str, ours: float | None, theirs: float | None) -> str:
    ratio = f"{ours / theirs:7.2f}x" if ours and theirs else ""
    cells = (f"{rate:9.0f}" if rate else f"{'':9}" for rate in (ours, theirs))
    return f"{title:22}{''.join(cells)}{ratio}"


if __name__ == "__main__":
    main()

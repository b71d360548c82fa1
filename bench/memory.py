"""Peak memory of the daemon (VmHWM) while many large messages come in at once and go out to smtp-sink."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from bench.processes import our_daemon, program, sink, wait_for


def resident(pid: int, key: str) -> float:
    """A field of /proc/PID/status in MiB: VmRSS now, VmHWM at its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


def main() -> None:
    """Run and print the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=30, help="messages, all at once (default 30)")
    parser.add_argument("--megabytes", type=int, default=50, help="size of each (default 50)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds it may take (default 300)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        top = Path(folder)
        with sink(top) as (counter, sink_port), our_daemon(top, f"smtp://127.0.0.1:{sink_port}") as (daemon, port):
            idle = resident(daemon.pid, "VmRSS")
            before = counter.count()
            count, size = str(arguments.messages), str(arguments.megabytes << 20)
            command = [program("smtp-source"), "-s", count, "-m", count, "-l", size]
            command += ["-f", "sender@bench.test", "-t", "recipient@sink.test", f"127.0.0.1:{port}"]
            began = time.monotonic()
            subprocess.run(command, check=True, timeout=arguments.timeout)
            taken = time.monotonic() - began
            wait_for(lambda: counter.count() - before >= arguments.messages, arguments.timeout, "the delivery")
            relayed = time.monotonic() - began
            peak = resident(daemon.pid, "VmHWM")
    print(f"{arguments.messages} messages of {arguments.megabytes} MiB at once: accepted in {taken:.1f} s,")
    print(f"all relayed after {relayed:.1f} s; resident {idle:.0f} MiB idle, {peak:.0f} MiB at the peak")


if __name__ == "__main__":
    main()

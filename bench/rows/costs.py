"""
What a relayed message costs: CPU time, memory, fsyncs.

Runs of their own, for looking on costs time: memory is sampled, and fsyncs are counted by strace, which stops a process
at these system calls alone (--seccomp-bpf).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from bench.processes import Sink, UnavailableError, program, relay, sink
from bench.run import Run
from bench.servers import SYSTEMS, Server, Setting, start
from bench.usage import PeakMemory, counted_calls, cpu_seconds

MESSAGES = 2000
MODES = ((False, "a connection each"), (True, "connections reused"))


def row(run: Run) -> Iterator[Figure]:
    """4 KB messages over 20 sessions."""
    messages = run.count(MESSAGES, 20)
    with run.folder() as folder, sink(folder) as (counter, port):
        setting = Setting(next_hop=port)
        with run.started(folder, setting) as (servers, reasons):
            peaks: dict[str, list[float]] = {}
            for reuse, mode in MODES:

                def milliseconds(server: Server, reuse: bool = reuse) -> float:
                    before = cpu_seconds(server.root)
                    relay(server.port, counter, messages, reuse=reuse)
                    time.sleep(0.3)  # the last deliveries are written down
                    return (cpu_seconds(server.root) - before) * 1000 / messages

                why = dict(reasons)
                samples = run.in_turns(servers, why, milliseconds)
                yield Figure("costs", f"CPU time a message, {mode}", "ms", False, samples, why)
            for system, server in servers.items():
                with PeakMemory(server.root) as watched:
                    relay(server.port, counter, messages)
                peaks[system] = [watched.peak]
            note = "all processes, what they share counted once"
            yield Figure("costs", "peak memory", "MiB", False, peaks, dict(reasons), note)
        yield _fsyncs(run, folder, setting, counter, reasons)


def _fsyncs(run: Run, folder: Path, setting: Setting, counter: Sink, reasons: dict[str, str]) -> Figure:
    """A run of its own under strace, which slows both sides down."""
    messages = run.count(MESSAGES // 2, 20)
    samples: dict[str, list[float]] = {}
    why = dict(reasons)
    for system in SYSTEMS:
        if system in why:
            continue
        summary = folder / f"{system.replace(', ', '-')}.strace"
        try:
            strace = [program("strace", "strace"), "-f", "--seccomp-bpf", "-c", "-e", "trace=fsync,fdatasync"]
            again = folder / "traced"
            again.mkdir(exist_ok=True)
            with start(system, again, setting, under=[*strace, "-o", str(summary)]) as server:
                relay(server.port, counter, messages)
                time.sleep(0.3)
        except UnavailableError as error:
            why[system] = str(error)
        else:
            samples[system] = [counted_calls(summary.read_text()) / messages]
    note = "in a run under strace, 20 sessions: group commit shares them among the messages that wait"
    return Figure("costs", "fsyncs a message", "", False, samples, why, note)

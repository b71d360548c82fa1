"""
What TLS costs: messages a second with STARTTLS and in clear, and handshakes a second.

The clients are the same for all: `bench.tls_source` for mail, which makes a full handshake for each connection, and
OpenSSL's s_time on a port with TLS from the start. They share the machine with what is measured: the figures are for
comparing, and for the difference that TLS makes. The certificate is one of ECDSA (P-256).
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

from bench.figures import Figure
from bench.processes import Sink, UnavailableError, program, sink, wait_for
from bench.run import Run
from bench.servers import Server, Setting
from mta.tls.selfsigned import make

MODES = ((False, "a connection each"), (True, "connections reused"))
MESSAGES = 1000
SESSIONS = 20
# Seconds for which handshakes are counted, and clients that make them one after the other.
SECONDS, CLIENTS = 5, 4
HANDSHAKES = (
    ("full handshakes, TLS 1.3", ("-new", "-tls1_3")),
    ("full handshakes, TLS 1.2", ("-new", "-tls1_2")),
    ("resumed handshakes, TLS 1.2", ("-reuse", "-tls1_2")),
)
_TIMEOUT = 120.0


def row(run: Run) -> Iterator[Figure]:
    """4 KB with new connections and reused ones, with STARTTLS and without; then handshakes alone."""
    with run.folder() as folder, sink(folder) as (counter, port):
        pair = _pair(folder)
        with run.started(folder, Setting(next_hop=port, pair=pair)) as (servers, reasons):
            messages = run.count(MESSAGES, 4)
            for (reuse, mode), (clear, title) in product(MODES, ((False, "STARTTLS"), (True, "in clear"))):
                why = dict(reasons)
                samples = run.in_turns(servers, why, _relaying(counter, messages, reuse=reuse, clear=clear))
                note = f"the client is bench.tls_source, {SESSIONS} sessions"
                yield Figure("tls", f"4 KB, {title}, {mode}", "messages/s", True, samples, why, note)
            for title, options in HANDSHAKES:
                why = dict(reasons)
                seconds = max(1, round(SECONDS * run.share))
                samples = run.in_turns(servers, why, _shaking_hands(options, seconds))
                note = f"the clients are {CLIENTS} of openssl s_time"
                yield Figure("tls", title, "handshakes/s", True, samples, why, note)


def _pair(folder: Path) -> Path:
    """A file with a key and a certificate."""
    certificate, key = make(["bench.test"], 30, time.time())
    pair = folder / "pair.pem"
    pair.touch(0o600)
    pair.write_bytes(key + certificate)
    return pair


def _relaying(counter: Sink, messages: int, *, reuse: bool, clear: bool) -> Callable[[Server], float]:
    def measure(server: Server) -> float:
        command = [sys.executable, "-m", "bench.tls_source", str(server.port), "--messages", str(messages)]
        command += ["--sessions", str(min(SESSIONS, messages))]
        command += [*(["--reuse"] if reuse else []), *(["--clear"] if clear else [])]
        before = counter.count()
        began = float(_ran(command, _TIMEOUT))  # the clock is that of the machine; its start is not counted
        wait_for(lambda: counter.count() - before >= messages, _TIMEOUT, f"the delivery of {messages} messages")
        return messages / (time.monotonic() - began)

    return measure


def _shaking_hands(options: tuple[str, ...], seconds: int) -> Callable[[Server], float]:
    def measure(server: Server) -> float:
        command = [program("openssl", "openssl"), "s_time", "-connect", f"127.0.0.1:{server.implicit}"]
        command += ["-time", str(seconds), *options]
        began = time.monotonic()
        clients = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(CLIENTS)]
        rate = 0.0
        try:
            for client in clients:
                said, _ = client.communicate(timeout=_TIMEOUT)
                # "N connections in S real seconds": in whole seconds, so the time is ours.
                counted = re.findall(rb"^(\d+) connections in \d+ real seconds", said, re.MULTILINE)
                if not counted or client.returncode:
                    raise UnavailableError(f"openssl s_time: {said.decode(errors='replace').strip()[-200:]}")
                rate += int(counted[-1]) / (time.monotonic() - began)
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"openssl s_time took longer than {_TIMEOUT:.0f} s") from None
        finally:
            for client in clients:
                client.kill()
                client.wait()
        return rate

    return measure


def _ran(command: list[str], timeout: float) -> bytes:
    try:
        here = Path(__file__).parents[2]
        return subprocess.run(command, check=True, timeout=timeout, capture_output=True, cwd=here).stdout
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"sending took longer than {timeout:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"bench.tls_source: {error.stderr.decode(errors='replace').strip()[-200:]}") from None

"""Delivery to a Maildir."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from bench.processes import send, wait_for
from bench.run import Run
from bench.servers import LOCAL_DOMAIN, Server, Setting

MESSAGES = 1500


def row(run: Run) -> Iterator[Figure]:
    """From the first connection until all are in new/ of one user's Maildir; Postfix with its virtual(8)."""
    messages = run.count(MESSAGES, 20)

    def measure(server: Server) -> float:
        new = server.mail / "recipient" / "new"
        before = _files(new)
        began = time.monotonic()
        send(server.port, messages, recipient=f"recipient@{LOCAL_DOMAIN}")
        wait_for(lambda: _files(new) - before >= messages, 120, "the delivery", every=0.02)
        return messages / (time.monotonic() - began)

    with run.folder() as folder, run.started(folder, Setting(local=True)) as (servers, reasons):
        samples = run.in_turns(servers, reasons, measure)
    yield Figure("local", "4 KB to a Maildir, 20 sessions", "messages/s", True, samples, reasons)


def _files(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0

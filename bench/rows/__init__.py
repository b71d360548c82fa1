"""The rows of the table. Each file measures one thing; `ROWS` is their order."""

from __future__ import annotations

from bench.rows import bounces, costs, dead_site, fan_out, idle, large, latency, local, micro, queue, relay, tls
from bench.run import Row

ROWS: dict[str, Row] = {
    "relay": relay.row,
    "latency": latency.row,
    "tls": tls.row,
    "costs": costs.row,
    "large": large.row,
    "fanout": fan_out.row,
    "local": local.row,
    "bounces": bounces.row,
    "idle": idle.row,
    "queue": queue.row,
    "dead": dead_site.row,
    "micro": micro.row,
}

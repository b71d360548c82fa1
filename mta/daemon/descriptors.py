"""
How many files this process may have open.

Owns: raising the limit to what the system allows, and the estimate of what a configuration needs.
Never: closes a file.
"""

from __future__ import annotations

import resource

from mta.config.schema import Config

# The spool, the log, the control socket with its clients, the sockets of the resolver, Maildir files, and what Python
# and Twisted have.
RESERVE = 300


def raise_limit() -> int:
    """Raise the soft limit to the hard one; how many files may be open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS: a hard limit that no process gets
            return soft
    return hard


def shortage(config: Config, allowed: int) -> str:
    """What to warn of, "" for nothing: `allowed` open files are too few for what the configuration promises."""
    # Of several workers one may have nearly all connections: the kernel spreads clients by chance.
    needed = config.limits.connections + config.queue.deliveries + RESERVE
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return ""
    return (
        f"only {allowed} files may be open, but limits.connections + queue.deliveries may need {needed}: raise the"
        " limit (LimitNOFILE of systemd, ulimit -Hn), or lower these options"
    )

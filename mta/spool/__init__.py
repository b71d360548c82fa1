"""The durable queue: SQLite with group commit. `mta.spool.spool` serves the daemon, `mta.spool.reading` people."""

from mta.spool.errors import SpoolError

__all__ = ["SpoolError"]

"""The durable queue: SQLite with group commit. `mta.spool.spool` serves the daemon, `mta.spool.reading` people."""

from mta.spool.errors import SpoolDamageError, SpoolError

__all__ = ["SpoolDamageError", "SpoolError"]

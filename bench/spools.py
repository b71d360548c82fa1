"""
Make a spool with a long queue in seconds, with the tables of production.

Owns: rows as the daemon leaves them behind a first attempt that failed: message, recipient, content, three events.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from mta.spool import schema

# Recipients' domains take turns; so many of them.
DOMAINS = 1000
CONTENT = b"Received: from client.bench.test\r\nSubject: waiting\r\n\r\n" + (b"x" * 76 + b"\r\n") * 6

# One queue id a millisecond, in the layout of mta/ids.py.
_NUMBERS = "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count)"
_ID = "((:first + n) << 21)"
_ADDRESS = "'user' || n || '@' || CASE :domain WHEN '' THEN 'site' || (n % :domains) || '.test' ELSE :domain END"
# Each at another time, but with no order that an index would like.
_DUE = ":due + (n * 7919 % 1000003) / 1000003.0 * :spread"
_REPLY = "cannot connect to 192.0.2.1[192.0.2.1]:25: Connection refused"

_STATEMENTS = (
    f"""{_NUMBERS} INSERT INTO messages (id, arrived, sender, size, body, due)
        SELECT {_ID}, (:first + n) / 1000.0, 'sender' || (n % 5000) || '@bench.test', length(:content), '7BIT', {_DUE}
        FROM numbers""",
    f"""{_NUMBERS} INSERT INTO recipients (message, address, state, due, attempts, last_reply)
        SELECT {_ID}, {_ADDRESS}, 'queued', {_DUE}, 1, :reply FROM numbers""",
    f"{_NUMBERS} INSERT INTO chunks (message, number, data) SELECT {_ID}, 0, :content FROM numbers",
    f"""{_NUMBERS}, kinds (kind, detail) AS (VALUES
            ('accepted', '{{"client":"127.0.0.1","helo":"client.bench.test","listener":"bench","protocol":"ESMTP"}}'),
            ('routed', '{{"rule":"route 1 (mta.toml:20)","next_hop":"smtp://192.0.2.1:25","site":"192.0.2.1:25"}}'),
            ('deferred', '{{"attempt":1,"phase":"connect","code":"4.4.1","reason":"Connection refused"}}'))
        INSERT INTO events (message, at, kind, recipient, detail)
        SELECT {_ID}, (:first + n) / 1000.0, kind, CASE kind WHEN 'accepted' THEN NULL ELSE {_ADDRESS} END, detail
        FROM numbers, kinds""",
)


def make(state: Path, count: int, *, due_in: float, spread: float, domain: str = "") -> Path:
    """
    A spool file in the directory `state`, new, with `count` messages for one deferred recipient each.

    They are due in `due_in` to `due_in + spread` seconds from now; recipients are at `domain`, "" for many of them.
    """
    state.mkdir(parents=True, mode=0o700, exist_ok=True)
    path = state / schema.FILE_NAME
    database = schema.connect(path)
    try:
        schema.prepare(database, str(path))
        # Nothing to lose here; the daemon sets what it needs when it opens the file.
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        now = time.time()
        values = {
            "count": count,
            "first": int(now * 1000) - count - 3_600_000,
            "content": CONTENT,
            "domain": domain,
            "domains": DOMAINS,
            "due": now + due_in,
            "spread": spread,
            "reply": _REPLY,
        }
        database.execute("BEGIN")
        if count:
            for statement in _STATEMENTS:
                database.execute(statement, values)
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
    finally:
        database.close()
    # Else the first checkpoint of the daemon, an fsync of this file, would wait for all of it: half a second for a
    # million messages, in the middle of what is measured.
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path

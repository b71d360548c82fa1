"""
The tables of the queue.

Owns: the schema, its version and its migrations, and how a connection is opened.
Never: reads or writes a message; imports Twisted (the `mta` command opens the spool of a stopped daemon).
Fails: `SpoolError` where the file is no spool of ours, is newer than this program, or can't be opened.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mta.events import Event
from mta.spool.errors import SpoolError

if TYPE_CHECKING:
    from mta.spool.rules import Rule

VERSION = 5
FILE_NAME = "spool.sqlite"

# PRAGMA application_id: tells a file of ours from any other SQLite database. "MTAq" in ASCII.
APPLICATION_ID = 0x4D544171

# Milliseconds until SQLite gives up on a lock that another process holds.
LOCK_TIMEOUT = 10_000

# One content chunk; a small message takes one row of it.
CHUNK_SIZE = 256 * 1024

# messages.due is the earliest due time of the message's queued recipients; NULL where none is queued. The claim is the
# number of a row in workers; a claimed message is in nobody else's hands. Both are read through one partial index, so
# that a million deferred messages cost nothing until they are due.
#
# messages.waits_for is the site that an unclaimed message waits for, NULL for none: when the site answers, what waits
# for it is made due, the oldest first (an index ends with the id). It is what the last look found, never a route.
#
# recipients.state holds `mta.entry.State` values. The row of a finished recipient goes, its events stay; the message
# goes with its last recipient. Of the final states only `discarded` is seen on a row: an operator's word, while an
# attempt is under way.
#
# recipients.marked is the host that may have the whole message of the attempt under way, NULL before that; found at a
# start it is an attempt without an outcome. in_doubt is 1 where such an attempt was the last that could tell. The two
# say nothing of what is done next: that is the state.
#
# recipients.site and .code are of the last attempt that ended in a deferral. operation is the last operation of an
# operator that changed the recipient, and former what it was before; both go a day after that. What an operation has
# discarded stays until then.
#
# operations are what operators did: message and address are the place up to which it is done, so that a start goes on
# with it where it has not ended. imported has which message of which archive is here already.
#
# chunks has the content of small messages and the first chunk of large ones: what is behind it stands in a file. In
# memory there are no files, and up to version 2 there were none: then all stands here. Chunks may stand there before
# their message: then its id is in staged, and what a crash leaves is swept at start.
TABLES = """
CREATE TABLE workers (
    id       INTEGER PRIMARY KEY,
    pid      INTEGER NOT NULL,
    beat     REAL NOT NULL
);
CREATE TABLE messages (
    id       INTEGER PRIMARY KEY,
    arrived  REAL NOT NULL,
    sender   TEXT NOT NULL,              -- '' is the null reverse-path
    size     INTEGER NOT NULL,
    body     TEXT NOT NULL,              -- 7BIT, 8BITMIME
    due      REAL,
    claim    INTEGER,
    crashes  INTEGER NOT NULL DEFAULT 0,
    details  TEXT,                       -- JSON, for what later versions add
    waits_for TEXT
);
CREATE INDEX messages_waiting ON messages (waits_for) WHERE claim IS NULL AND waits_for IS NOT NULL;
CREATE INDEX messages_due ON messages (due) WHERE claim IS NULL AND due IS NOT NULL;
CREATE INDEX messages_claim ON messages (claim) WHERE claim IS NOT NULL;
CREATE TABLE recipients (
    message    INTEGER NOT NULL REFERENCES messages (id),
    address    TEXT NOT NULL,
    state      TEXT NOT NULL,
    due        REAL NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    last_reply TEXT NOT NULL DEFAULT '',
    details    TEXT,
    marked     TEXT,
    in_doubt   INTEGER NOT NULL DEFAULT 0,
    site       TEXT,
    code       TEXT,
    operation  INTEGER,
    former     TEXT,                     -- JSON
    PRIMARY KEY (message, address)
) WITHOUT ROWID;
CREATE INDEX recipients_in_doubt ON recipients (message) WHERE in_doubt = 1;
CREATE INDEX recipients_operation ON recipients (operation, message, address) WHERE operation IS NOT NULL;
CREATE TABLE chunks (
    message  INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    data     BLOB NOT NULL,
    PRIMARY KEY (message, number)
);
CREATE TABLE staged (
    message  INTEGER PRIMARY KEY
);
CREATE TABLE events (
    seq       INTEGER PRIMARY KEY,
    message   INTEGER NOT NULL,
    at        REAL NOT NULL,
    kind      TEXT NOT NULL,
    recipient TEXT,
    detail    TEXT                       -- JSON
);
CREATE INDEX events_message ON events (message);
CREATE INDEX events_at ON events (at);
"""

_SURGERY = """
CREATE TABLE operations (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    orderer   TEXT NOT NULL,
    command   TEXT NOT NULL,
    words     TEXT NOT NULL,             -- JSON
    changed   INTEGER NOT NULL DEFAULT 0,
    message   INTEGER,
    address   TEXT,
    ended     INTEGER NOT NULL DEFAULT 0,
    undone_by INTEGER
);
CREATE TABLE rules (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    orderer   TEXT NOT NULL,
    words     TEXT NOT NULL              -- JSON
);
CREATE TABLE imported (
    archive   TEXT NOT NULL,
    message   INTEGER NOT NULL,
    PRIMARY KEY (archive, message)
) WITHOUT ROWID;
"""
TABLES += _SURGERY

# version -> the statements that lead to it from the one before.
MIGRATIONS: dict[int, str] = {
    2: """
ALTER TABLE recipients ADD COLUMN marked TEXT;
ALTER TABLE recipients ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recipients_in_doubt ON recipients (message) WHERE in_doubt = 1;
""",
    # Content behind a first chunk may stand in a file from here on as well, of which version 2 knows nothing.
    3: """
ALTER TABLE messages ADD COLUMN waits_for TEXT;
CREATE INDEX messages_waiting ON messages (waits_for) WHERE claim IS NULL AND waits_for IS NOT NULL;
""",
    # What a sender says of TLS (RFC 8689) may stand in messages.details from here on: version 3 would not heed it, and
    # send in clear what must not be.
    4: "",
    # Version 4 would not heed where an operator sends a recipient, and would keep what is discarded for ever.
    5: """
ALTER TABLE recipients ADD COLUMN site TEXT;
ALTER TABLE recipients ADD COLUMN code TEXT;
ALTER TABLE recipients ADD COLUMN operation INTEGER;
ALTER TABLE recipients ADD COLUMN former TEXT;
CREATE INDEX recipients_operation ON recipients (operation, message, address) WHERE operation IS NOT NULL;
"""
    + _SURGERY,
}


def _text(octets: bytes) -> str:
    """Text as it stands in a row. One that is no UTF-8 must not make all the others of a query unreadable."""
    return octets.decode("utf-8", "surrogateescape")


class Files(Protocol):
    """What tells which of the open files is gone: `mta.spool.soundness.Files`."""

    def missing(self) -> str: ...


class Ballast(Protocol):
    """What gives room back when the disk is full: `mta.spool.ballast.Ballast`."""

    @property
    def held(self) -> bool: ...

    def give_back(self) -> bool: ...


class ContentFiles(Protocol):
    """Where large content stands: `mta.spool.content_files.ContentFiles`."""

    def write(self, message: int, number: int, data: bytes) -> None: ...

    def secure(self, message: int, octets: int) -> None: ...

    def secure_names(self) -> None: ...

    def read(self, message: int, number: int, octets: int) -> bytes: ...

    def remove(self, message: int) -> None: ...

    def messages(self) -> list[int]: ...


class Turn(Protocol):
    """Whose turn it is to write, among the processes that share the file: `mta.spool.turn.WritersTurn`."""

    def take(self) -> bool: ...

    def wait(self) -> None: ...

    def leave(self) -> None: ...

    def __enter__(self) -> object: ...

    def __exit__(self, *_exception: object) -> None: ...


class SpoolConnection(sqlite3.Connection):
    """
    A connection, and what is to be known of it.

    `written` are the events of the open transaction, for the log to tell once they are on disk; `gone` are messages
    that it removes, whose files may go behind it. `syncs` says whether a commit has an fsync, `waits` whether its begin
    waits for a lock; `damage` why nothing may be written any more, "" while all is well. `files`, `ballast` and
    `content` are those of a spool on a disk; `turn` is taken for each transaction where several processes write to it.
    `rules` hold mail as it comes.
    """

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.text_factory = _text
        self.written: list[Event] = []
        self.gone: list[int] = []
        self.begin = "BEGIN IMMEDIATE"
        self.syncs = True
        self.waits = True
        self.damage = ""
        self.files: Files | None = None
        self.ballast: Ballast | None = None
        self.content: ContentFiles | None = None
        self.turn: Turn | None = None
        self.rules: tuple[Rule, ...] = ()

    def committed(self) -> list[Event]:
        """What was written; and what the transaction has removed goes from the disk as well."""
        written, self.written = self.written, []
        gone, self.gone = self.gone, []
        if self.content is not None:
            for message in gone:
                self.content.remove(message)
        return written

    def rolled_back(self) -> None:
        """Nothing of the transaction was."""
        self.written, self.gone = [], []


def connect(path: Path, *, read_only: bool = False, immutable: bool = False, create: bool = True) -> SpoolConnection:
    """
    A connection to the spool file, which `create` makes where there is none; `read_only` never creates or changes it.

    SQLite makes the files of its log beside it all the same, unless it is told that nobody writes: `immutable`.

    Transactions are explicit (`isolation_level=None`); `prepare` makes it fit for writing. Raises `SpoolError` naming
    the file.
    """
    try:
        mode = "ro" if read_only else "rwc" if create else "rw"
        uri = f"{path.absolute().as_uri()}?mode={mode}{'&immutable=1' if immutable else ''}"
        database = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0, factory=SpoolConnection
        )
        database.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT}")
    except sqlite3.Error as error:
        raise SpoolError(f"{path}: cannot open the spool: {error}") from error
    if read_only:
        database.begin = "BEGIN"
    return database


def memory() -> SpoolConnection:
    """A database in memory: what a disk is to the spool of a test or of the simulator."""
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=SpoolConnection)


def _configure(database: SpoolConnection) -> None:
    """Set what writing needs: a log, one fsync of it for each commit, a checkpoint for each 16 MB of it."""
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA journal_size_limit = 67108864")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA wal_autocheckpoint = 4000")
    database.execute("PRAGMA foreign_keys = ON")
    # Debian builds SQLite to write zeros over what is deleted: all of a message once more into the log, and from there
    # into the file.
    database.execute("PRAGMA secure_delete = OFF")


def prepare(database: SpoolConnection, name: str) -> None:
    """
    Create the tables in an empty database, or bring an older one up to date; `name` is for the error text.

    Raises `SpoolError` and touches nothing where the file is newer than this program or not ours.
    """
    check(database, name, allow_older=True)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0:
        # Else the file keeps the size of the longest queue ever, and a disk that was once full never has room again.
        # Only an empty database takes it.
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _configure(database)
    if version == VERSION:
        return
    steps = TABLES if version == 0 else "".join(MIGRATIONS[step] for step in range(version + 1, VERSION + 1))
    try:
        database.executescript(
            f"BEGIN IMMEDIATE; {steps} "
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
        )
    except sqlite3.Error as error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise SpoolError(f"{name}: cannot prepare the spool: {error}") from error


def check(database: sqlite3.Connection, name: str, *, allow_older: bool = False) -> None:
    """Raise `SpoolError` unless it is a spool that this program can read; `allow_older`: or an empty or older one."""
    try:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        raise SpoolError(f"{name}: this is not a readable spool: {error}") from error
    if allow_older and version == 0 and application == 0 and tables == 0:
        return
    if application != APPLICATION_ID:
        raise SpoolError(f"{name}: this is not a spool of this program; move it away or set another state_dir")
    if version > VERSION:
        raise SpoolError(
            f"{name}: the spool has schema version {version}, this program knows up to {VERSION}; "
            "start the newer program that wrote it"
        )
    if version < VERSION and not allow_older:
        raise SpoolError(
            f"{name}: the spool has schema version {version}, this program reads {VERSION}; "
            "start the daemon once, it brings the file up to date"
        )

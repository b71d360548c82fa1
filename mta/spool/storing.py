"""
The statements that put messages in and take outcomes down. Each function runs inside a transaction of its caller.

Owns: inserting a message, claiming, recording a report, marks and doubts, crashes and quarantine.
Never: begins or ends a transaction; imports Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mta.address import Address, parse_address
from mta.entry import Entry, NewMessage, QueuedRecipient, Report, State
from mta.envelope import Body, Envelope, Origin, RequireTls, Ret
from mta.events import Event, Kind
from mta.outcome import DOUBT, Phase
from mta.spool import chunks, ordered
from mta.spool.details import alias_in, decoded, encoded, message_details, notify_in, recipient_details, storable
from mta.spool.schema import CHUNK_SIZE, SpoolConnection

# Seconds until a recipient that is in doubt is tried again, after so many attempts.
RetryIn = Callable[[int], float]

# A message whose handling raised this often needs a person (DESIGN: "a message that makes us crash three times").
MAX_CRASHES = 3


def write_events(database: SpoolConnection, events: Iterable[Event]) -> None:
    """Append events to the log."""
    events = tuple(events)
    database.written += events
    database.executemany(
        "INSERT INTO events (message, at, kind, recipient, detail) VALUES (?, ?, ?, ?, ?)",
        [
            (
                event.message,
                event.at,
                event.kind.value,
                event.recipient,
                encoded(event.detail) if event.detail else None,
            )
            for event in events
        ],
    )


def _reverse_path(sender: Address | None) -> str:
    return str(sender) if sender else ""


def accepted_event(message: int, now: float, envelope: Envelope, origin: Origin, size: int) -> Event:
    """The first event of a message's life."""
    detail: dict[str, str | int | float | None] = {
        "client": origin.client,
        "helo": origin.helo,
        "listener": origin.listener,
        "protocol": origin.protocol,
        "sender": _reverse_path(envelope.sender),
        "size": size,
        "recipients": len(envelope.recipients),
        **origin.details,
    }
    if envelope.require_tls is not None:
        detail["require_tls"] = envelope.require_tls.value
    return Event(message, now, Kind.ACCEPTED, None, detail)


def insert_message(
    database: SpoolConnection, message: int, now: float, envelope: Envelope, size: int, claim: int | None
) -> None:
    """The message and its recipients, due at once; its chunks are written apart."""
    database.execute(
        "INSERT INTO messages (id, arrived, sender, size, body, due, claim, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message,
            now,
            _reverse_path(envelope.sender),
            size,
            envelope.body.value,
            now,
            claim,
            message_details(envelope),
        ),
    )
    database.executemany(
        "INSERT INTO recipients (message, address, state, due, details) VALUES (?, ?, 'queued', ?, ?)",
        [(message, str(recipient.address), now, recipient_details(recipient)) for recipient in envelope.recipients],
    )


def insert_whole(database: SpoolConnection, new: NewMessage, claim: int | None) -> None:
    """A message of our own, due at once."""
    size = len(new.content)
    insert_message(database, new.message, new.arrived, new.envelope, size, claim)
    for number, start in enumerate(range(0, size, CHUNK_SIZE)):
        chunks.insert_chunk(database, new.message, number, new.content[start : start + CHUNK_SIZE])
    write_events(database, [accepted_event(new.message, new.arrived, new.envelope, new.origin, size)])


def claim_due(database: SpoolConnection, worker: int, now: float, limit: int) -> list[Entry]:
    """Claim what is due, earliest first; what can't be read goes to quarantine."""
    rows = database.execute(
        "UPDATE messages SET claim = ?, waits_for = NULL WHERE id IN (SELECT id FROM messages"
        " WHERE claim IS NULL AND due IS NOT NULL AND due <= ? ORDER BY due LIMIT ?)"
        " RETURNING id, arrived, sender, size, body, details, due",
        (worker, now, limit),
    ).fetchall()
    rows.sort(key=lambda row: (row[6], row[0]))  # RETURNING promises no order
    entries = []
    for message, arrived, sender, size, body, details, _due in rows:
        try:
            recipients = _due_recipients(database, message, now)
            if not recipients:  # an operator held them since `due` was noted
                settle(database, message)
                continue
            reverse_path = parse_address(sender, utf8=True) if sender else None
            entry = Entry(message, float(arrived), reverse_path, int(size), Body(body), recipients)
            if details:
                said = decoded(details)
                entry.utf8, entry.envid = bool(said.get("utf8")), str(said.get("envid") or "")
                entry.ret = Ret(said["ret"]) if said.get("ret") else None
                entry.expanded = tuple(map(alias_in, said.get("expanded") or ()))
                entry.require_tls = RequireTls(said["require_tls"]) if said.get("require_tls") else None
                entry.tls_report = bool(said.get("tls_report"))
            entries.append(entry)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            quarantine(database, message, f"a row of the spool can't be read: {error}", now)
    return entries


def _due_recipients(database: SpoolConnection, message: int, now: float) -> list[QueuedRecipient]:
    rows = database.execute(
        "SELECT address, attempts, due, last_reply, details FROM recipients"
        " WHERE message = ? AND state = 'queued' AND due <= ?",
        (message, now),
    )
    return [_queued_recipient(*row) for row in rows]


def _queued_recipient(address: str, attempts: int, due: float, last_reply: str, details: str | None) -> QueuedRecipient:
    recipient = QueuedRecipient(parse_address(address, utf8=True), int(attempts), due, last_reply=last_reply)
    if details:
        said = decoded(details)
        recipient.notify = notify_in(said)
        recipient.orcpt = str(said.get("orcpt") or "")
        recipient.named = str(said.get("named") or "")
        recipient.delay_told = bool(said.get("delay_told"))
        recipient.next_hop = str(said.get("next_hop") or "")
        if said.get("ended"):
            recipient.ended = str(said["ended"]["text"])
    return recipient


def quarantine(database: SpoolConnection, message: int, reason: str, now: float) -> None:
    """Stop all that is queued of a message until a person looks at it; nothing is deleted for being broken."""
    database.execute(
        "UPDATE recipients SET state = 'quarantined', last_reply = ? WHERE message = ? AND state = 'queued'",
        (storable(reason), message),
    )
    write_events(database, [Event(message, now, Kind.QUARANTINED, None, {"reason": reason})])
    settle(database, message)


def mark(database: SpoolConnection, message: int, addresses: Sequence[Address], host: str) -> None:
    """Note that `host` may have the whole message for these recipients from now on."""
    database.executemany(
        "UPDATE recipients SET marked = ? WHERE message = ? AND address = ?",
        [(storable(host), message, str(address)) for address in addresses],
    )


def record(database: SpoolConnection, report: Report, worker: int, unreadable: str | None = None) -> float | None:
    """
    Write down a report of `worker`'s; when something of it is due: a bounce at once unless he has claimed it, the
    message when its claim is given back.

    `unreadable` says why the content could not be read: what is not finished of the message goes to quarantine.
    """
    message = report.message
    for result in report.results:
        if result.state.is_final:
            database.execute("DELETE FROM recipients WHERE message = ? AND address = ?", (message, str(result.address)))
        else:
            database.execute(
                # The word of an operator who held or discarded it meanwhile counts.
                "UPDATE recipients SET due = ?, attempts = attempts + ?, last_reply = ?, marked = NULL,"
                " in_doubt = coalesce(?, in_doubt), site = coalesce(?, site), code = coalesce(?, code),"
                " state = CASE state WHEN 'queued' THEN ? ELSE state END"
                " WHERE message = ? AND address = ?",
                (
                    result.due,
                    int(result.counts),
                    storable(result.last_reply),
                    result.in_doubt,
                    result.site,
                    result.code,
                    result.state.value,
                    message,
                    str(result.address),
                ),
            )
            if result.delay_told:
                _note_told(database, message, result.address)
    if report.expansion_told:
        database.execute("UPDATE messages SET details = json_remove(details, '$.expanded') WHERE id = ?", (message,))
    write_events(database, report.events)
    due = None if report.keep_claim else settle(database, message, report.waits_for)
    if due is not None and unreadable is not None:
        quarantine(database, message, unreadable, report.events[-1].at if report.events else due)
        due = None
    if report.bounce is None:
        return due
    insert_whole(database, report.bounce, worker if report.claims_bounce else None)
    return due if report.claims_bounce else report.bounce.arrived


def _note_told(database: SpoolConnection, message: int, address: Address) -> None:
    """The sender has been told of the delay, and is told once."""
    database.execute(
        "UPDATE recipients SET details = json_set(coalesce(details, '{}'), '$.delay_told', json('true'))"
        " WHERE message = ? AND address = ?",
        (message, str(address)),
    )


def settle(database: SpoolConnection, message: int, waits_for: str | None = None) -> float | None:
    """
    Give the claim back: remove the message when nobody is left, else note when it is due next, and say so.

    `waits_for` is the site that it waits for, None: for what it did.
    """
    rows = database.execute(
        "SELECT state, due, address, details FROM recipients WHERE message = ?", (message,)
    ).fetchall()
    are_kept = False
    if any(row[0] == "discarded" for row in rows):
        are_kept = ordered.finish_discarded(database, message, rows, write_events)
        rows = [row for row in rows if row[0] != "discarded"]
    if any(row[3] and '"ended"' in row[3] for row in rows):
        rows = ordered.hasten_ended(database, message)
    if not rows and not are_kept:
        database.execute("DELETE FROM chunks WHERE message = ?", (message,))
        for (size,) in database.execute("DELETE FROM messages WHERE id = ? RETURNING size", (message,)).fetchall():
            if size > CHUNK_SIZE:
                database.gone.append(message)
        return None
    dues = {row[1] for row in rows if row[0] == "queued"}
    due: float | None = min(dues, default=None)
    if len(dues) > 1:  # other recipients wait for another time
        waits_for = None
    database.execute(
        "UPDATE messages SET claim = NULL, due = ?, waits_for = coalesce(?, waits_for) WHERE id = ?",
        (due, waits_for, message),
    )
    return due


def wake(database: SpoolConnection, site: str, now: float, limit: int) -> int:
    """Make up to `limit` messages that wait for `site` due, oldest first; how many it were."""
    found = database.execute(
        "SELECT id, due FROM messages WHERE claim IS NULL AND waits_for = ? AND due > ? ORDER BY id LIMIT ?",
        (site, now, limit),
    ).fetchall()
    # Those recipients that wait together; others of the message may wait for another time.
    database.executemany(
        "UPDATE recipients SET due = ? WHERE message = ? AND state = 'queued' AND due = ?",
        [(now, message, due) for message, due in found],
    )
    database.executemany("UPDATE messages SET due = ? WHERE id = ?", [(now, message) for message, _due in found])
    return len(found)


def settle_unclaimed(database: SpoolConnection, message: int) -> None:
    """Settle a message that nobody has claimed."""
    if database.execute("SELECT 1 FROM messages WHERE id = ? AND claim IS NULL", (message,)).fetchone():
        settle(database, message)


def count_crash(database: SpoolConnection, message: int, reason: str, now: float, due: float) -> float | None:
    """Count an exception of ours; when the message is due next, None where it went to quarantine."""
    row = database.execute(
        "UPDATE messages SET crashes = crashes + 1 WHERE id = ? RETURNING crashes", (message,)
    ).fetchone()
    if row is None:
        return None
    write_events(database, [Event(message, now, Kind.CRASHED, None, {"reason": reason, "crashes": row[0]})])
    database.execute(
        "UPDATE recipients SET in_doubt = 1, marked = NULL WHERE message = ? AND marked IS NOT NULL", (message,)
    )
    if row[0] >= MAX_CRASHES:
        quarantine(database, message, f"handling it failed {row[0]} times: {reason}", now)
        return None
    database.execute(
        "UPDATE recipients SET due = ?, last_reply = ? WHERE message = ? AND state = 'queued' AND due <= ?",
        (due, storable(reason), message, now),
    )
    return settle(database, message)


def take_over(database: SpoolConnection, now: float, retry_in: RetryIn | None, worker: int | None = None) -> None:
    """
    Give back what `worker` has claimed and forget it: it is dead, or just about to start. None: all workers are.

    What is marked is in doubt from here on.
    """
    claimed = "claim IS NOT NULL" if worker is None else f"claim = {worker:d}"
    for message in _doubt_marked(database, now, retry_in, claimed):
        settle(database, message)
    database.execute(f"UPDATE messages SET claim = NULL WHERE {claimed}")
    database.execute("DELETE FROM workers WHERE id = coalesce(?, id)", (worker,))
    chunks.sweep_staged(database, worker)


def join(database: SpoolConnection, worker: int, pid: int, now: float) -> None:
    """Become worker number `worker`, which has claimed nothing."""
    database.execute("INSERT OR REPLACE INTO workers (id, pid, beat) VALUES (?, ?, ?)", (worker, pid, now))


def give_back(database: SpoolConnection, worker: int) -> None:
    """Give back what a worker that ends has claimed, but for what is marked: the next start takes that over."""
    database.execute(
        "UPDATE messages SET claim = NULL WHERE claim = ? AND NOT EXISTS"
        " (SELECT 1 FROM recipients WHERE message = messages.id AND marked IS NOT NULL)",
        (worker,),
    )


def _doubt_marked(database: SpoolConnection, now: float, retry_in: RetryIn | None, claimed: str) -> list[int]:
    """Put in doubt what is marked in messages that are `claimed`; which messages these are."""
    rows = database.execute(
        "SELECT r.message, r.address, r.marked, r.attempts, r.state FROM messages m JOIN recipients r"
        f" ON r.message = m.id WHERE m.{claimed} AND r.marked IS NOT NULL ORDER BY r.message, r.address"
    ).fetchall()
    for message, address, host, attempts, state in rows:
        reason = f"we ended while {host} had all of it and had not answered{DOUBT}"
        detail: dict[str, str | int | float | None] = {
            "attempt": attempts + 1,
            "reason": reason,
            "host": host,
            "phase": Phase.END_OF_DATA.value,
            "code": "4.4.2",
        }
        due = None if retry_in is None else now + retry_in(attempts + 1)
        if due is not None and state == State.QUEUED.value:
            detail["due"] = due
        database.execute(
            "UPDATE recipients SET attempts = attempts + 1, last_reply = ?, marked = NULL, in_doubt = 1,"
            " due = coalesce(?, due), state = CASE WHEN state = 'queued' AND ? IS NULL THEN 'held' ELSE state END"
            " WHERE message = ? AND address = ?",
            (reason, due, due, message, address),
        )
        write_events(database, [Event(message, now, Kind.IN_DOUBT, address, detail)])
    return list(dict.fromkeys(row[0] for row in rows))


def pull_in(database: SpoolConnection, latest: float) -> int:
    """
    Make nothing due later than `latest`, the longest wait from now; how many messages were.

    Such a time was noted by a clock that has been set back since, or under longer waits than the operator wants now.
    """
    database.execute(
        "UPDATE recipients SET due = ? WHERE state = 'queued' AND due > ?"
        " AND message IN (SELECT id FROM messages WHERE claim IS NULL AND due > ?)",
        (latest, latest, latest),
    )
    return database.execute("UPDATE messages SET due = ? WHERE claim IS NULL AND due > ?", (latest, latest)).rowcount

"""
The control socket: how the `mta` command talks to a running daemon.

Owns: the wire format, and that one request at a time is answered, in order, whatever its answer waits for.
Never: decides what a command does (`changing`, `submission` and the `read` it is given do); blocks the reactor.
Fails: never for what the client sends: every request gets a last line with "ok", a bad one with "error" and "exit".

One JSON object a line. A request is ``{"command": NAME, words...}``; the answer is any number of rows and then
``{"ok": true, ...}`` or ``{"ok": false, "error": TEXT, "exit": SYSEXITS CODE}``. A `send` request is followed by
exactly `size` octets of content.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.admin.arrival import Arrival, told_history
from mta.admin.changing import COMMANDS, foretold, ordered, rule_number, told
from mta.admin.peer import uid_of
from mta.admin.request import (
    RequestError,
    Row,
    Words,
    checked,
    parse_request,
    render,
)
from mta.admin.submission import Announcement, ContentError, Submission, announced, announced_size
from mta.ids import spell
from mta.interfaces import IQueue, ISpool, ISurgery
from mta.spool.errors import AlreadyHereError, SpoolError

# A thousand recipients of 256 octets, or tens of thousands of queue ids, fit in a line.
MAX_LINE = 1 << 20
# Seconds. A client that neither speaks nor reads is gone: a person's command takes milliseconds.
IDLE_TIMEOUT = 60.0
# Rows rendered before the client has to have read some of them.
ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """
    What the control socket needs of the daemon.

    `read` gives the pages of rows of one of the `read_commands`, and blocks: it runs through `run_in_thread`
    (`mta.spool.answering.pages` bound to the spool file). `message_size` is in octets; `storage_room` False refuses new
    mail for now; `user_name` spells a uid, for events; `status` gives the words of the status command;
    `routes` makes what gives the names of a recipient's route; `rules_changed` tells the other processes that accept
    mail, and fires when they know.
    """

    spool: ISpool
    surgery: ISurgery
    queue: IQueue
    read: Callable[[str, Mapping[str, object]], Generator[list[Row], None, None]]
    read_commands: frozenset[str]
    run_in_thread: Callable[..., Deferred[Any]]
    clock: IReactorTime
    hostname: str
    message_size: int
    storage_room: Callable[[], bool]
    user_name: Callable[[int], str]
    status: Callable[[], Deferred[Row]]
    routes: Callable[[], Callable[[str], tuple[str, ...]]] | None = None
    rules_changed: Callable[[], Deferred[Any]] = lambda: succeed(None)


class ControlProtocol(LineReceiver):
    """One connection of an operator or of a local sender."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE
    transport: Any  # Twisted's interfaces do not say that it has registerProducer and abortConnection
    _log = Logger()

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._by = ""
        self._left = 0  # octets of content still to come
        self._submission: Submission | Arrival | None = None
        self._refusal: RequestError | None = None  # the answer to content that is being skipped
        self._drained: Deferred[None] | None = None
        self._reader_is_slow = False
        self._gone = False
        self._timer: IDelayedCall | None = None

    # Twisted calls these.

    def connectionMade(self) -> None:
        uid = uid_of(self.transport)
        self._by = "local" if uid is None else self._daemon.user_name(uid)
        self.transport.registerProducer(_Reader(self), True)
        self._wait()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        self._gone = True
        self._stop_waiting()
        if self._submission is not None:
            self._submission.abort()
        self.reader_drained()

    def lineReceived(self, line: bytes) -> None:
        self._stop_waiting()
        try:
            command, words = parse_request(line)
            if command in ("send", "queue.import"):
                self._begin_content(command, words)
                return
        except RequestError as error:
            self._end(error.row())
            return
        self._while_paused(self._answer(command, words))

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002
        self._write([RequestError(f"the request is longer than {MAX_LINE} octets").row()])
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def rawDataReceived(self, data: bytes) -> None:
        self._stop_waiting()
        content, rest = data[: self._left], data[self._left :]
        self._left -= len(content)
        busy = self._take(content)
        if not self._left:
            self._while_paused(self._finish_content(busy))
            self.setLineMode(rest)  # type: ignore[no-untyped-call]
        elif busy is not None:
            self._while_paused(self._until(busy))
        else:
            self._wait()

    # The transport calls these, through `_Reader`.

    def reader_slow(self) -> None:
        """The client does not read fast enough: write no more for now."""
        self._reader_is_slow = True

    def reader_drained(self) -> None:
        """The client caught up, or is gone."""
        self._reader_is_slow = False
        waiting, self._drained = self._drained, None
        if waiting is not None:
            waiting.callback(None)

    # Requests that are one line.

    async def _answer(self, command: str, words: Words) -> None:
        daemon = self._daemon
        if command in daemon.read_commands:
            await self._read(command, words)
        elif command in COMMANDS:
            await self._operate(command, words)
        elif command in ("rules.add", "rules.remove"):
            self._end(await self._change_rules(command, words))
        elif command == "status":
            self._end({**await daemon.status(), "ok": True})
        else:
            raise RequestError(f"unknown command {command!r}")

    async def _operate(self, command: str, words: Words) -> None:
        daemon = self._daemon
        order = checked(ordered, command, words, self._by, daemon.clock.seconds())
        try:
            done = await daemon.surgery.operate(order, daemon.routes() if daemon.routes else None)
        except ValueError as error:
            raise RequestError(str(error)) from None
        told(done, daemon.queue)
        for begin in range(0, len(done.changed), ROWS_AT_ONCE):
            part = done.changed[begin : begin + ROWS_AT_ONCE]
            await self._rows([{"id": spell(message), "recipient": recipient} for message, recipient in part])
        end: Row = {"ok": True, "changed": len(done.changed), "operation": done.operation}
        self._end({**end, "stayed": done.stayed} if done.stayed else end)

    async def _change_rules(self, command: str, words: Words) -> Row:
        daemon = self._daemon
        if command == "rules.add":
            selection = checked(foretold, words)
            changed = await daemon.surgery.add_rule(selection, self._by, daemon.clock.seconds())
        else:
            changed = checked(rule_number, words)
            if not await daemon.surgery.remove_rule(changed):
                raise RequestError(f"there is no rule {changed}", os.EX_NOINPUT)
        await daemon.rules_changed()
        return {"ok": True, "rule": changed}

    async def _read(self, command: str, words: Words) -> None:
        """Pass on page after page, each read in a thread, none before the client has taken the one before."""
        pages = self._daemon.read(command, words)
        total = 0
        try:
            while not self._gone and (page := await self._daemon.run_in_thread(next, pages, None)) is not None:
                total += len(page)
                await self._rows(page)
        except ValueError as error:
            raise RequestError(str(error)) from None
        except LookupError as error:
            raise RequestError(str(error), os.EX_NOINPUT) from None
        finally:
            await self._daemon.run_in_thread(pages.close)
        self._end({"ok": True, "rows": total})

    async def _rows(self, rows: list[Row]) -> None:
        self._write(rows)
        if self._reader_is_slow and not self._gone:
            self._drained = Deferred()
            self._wait()
            await self._drained
            self._stop_waiting()

    # `send`: a line and content.

    def _begin_content(self, command: str, words: Words) -> None:
        """Check the request. What is wrong with it is said only behind its content: the stream stays in step."""
        self._left = checked(announced_size, words)
        try:
            if command == "queue.import":
                self._submission = self._arrival(words)
            else:
                self._submission = self._submit(checked(announced, words, self._daemon.hostname, self._by))
        except RequestError as error:
            self._refusal = error
        if self._left:
            self._wait()
            self.setRawMode()  # type: ignore[no-untyped-call]
        else:
            self._while_paused(self._finish_content(None))

    def _submit(self, announcement: Announcement) -> Submission:
        daemon = self._daemon
        if announcement.size > daemon.message_size:
            raise RequestError(f"the message is larger than {daemon.message_size} octets", os.EX_DATAERR)
        if not daemon.storage_room():
            raise RequestError("the disk of the queue is nearly full; try again later", os.EX_TEMPFAIL)
        message = daemon.queue.new_id()
        receiving = daemon.spool.receive(message)
        now = daemon.clock.seconds()
        return Submission(announcement, receiving, message, hostname=daemon.hostname, by=self._by, at=now)

    def _arrival(self, words: Words) -> Arrival:
        daemon = self._daemon
        history = checked(told_history, words, self._by, daemon.clock.seconds())
        if not daemon.storage_room():
            raise RequestError("the disk of the queue is nearly full; try again later", os.EX_TEMPFAIL)
        message = daemon.queue.new_id()
        return Arrival(history, daemon.spool.receive_again(message, history))

    def _take(self, content: bytes) -> Deferred[None] | None:
        if self._submission is None:
            return None
        try:
            return self._submission.write(content)
        except ContentError as error:
            self._submission.abort()
            self._submission, self._refusal = None, RequestError(str(error), os.EX_DATAERR)
            return None

    async def _until(self, busy: Deferred[None]) -> None:
        await busy
        self._wait()

    async def _finish_content(self, busy: Deferred[None] | None) -> None:
        if busy is not None:
            await busy
        submission, self._submission = self._submission, None
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal
        assert submission is not None
        claim = submission.may_be_claimed and self._daemon.queue.wants_claim()
        try:
            entry = await submission.commit(claim)
        except ContentError as error:
            submission.abort()
            raise RequestError(str(error), os.EX_DATAERR) from None
        except AlreadyHereError as error:
            submission.abort()
            self._end({**RequestError(str(error), os.EX_DATAERR).row(), "known": True})
            return
        except SpoolError as error:
            submission.abort()
            # Nothing is stored, so the sender keeps the message and tries again.
            raise RequestError(str(error), os.EX_TEMPFAIL) from None
        self._daemon.queue.accepted(entry, claim)
        self._end({"ok": True, "id": spell(entry.message)})

    # The connection.

    def _while_paused(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Do `work` with the receiver paused: the next request waits its turn in the kernel, not in our memory."""
        self.pauseProducing()  # type: ignore[no-untyped-call]

        def resume(_: None) -> None:
            if not self._gone:
                self.resumeProducing()  # type: ignore[no-untyped-call]

        ensureDeferred(work).addErrback(self._failed).addCallback(resume)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, SpoolError):
            error = RequestError(str(error), os.EX_UNAVAILABLE)
        elif not isinstance(error, RequestError):
            self._log.failure("a request on the control socket failed", failure)
            error = RequestError(f"internal error: {error!r}; the daemon's log has it", os.EX_SOFTWARE)
        self._end(error.row())

    def _end(self, row: Row) -> None:
        self._write([row])
        self._wait()

    def _write(self, rows: list[Row]) -> None:
        if not self._gone:
            self.transport.write(render(rows))

    def _wait(self) -> None:
        self._stop_waiting()
        if not self._gone:
            self._timer = self._daemon.clock.callLater(IDLE_TIMEOUT, self._timed_out)

    def _stop_waiting(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        self.transport.abortConnection()


@implementer(IPushProducer)
class _Reader:
    """The transport's word on whether the client reads. (LineReceiver's own pause is about what the client writes.)"""

    def __init__(self, protocol: ControlProtocol) -> None:
        self._protocol = protocol

    def pauseProducing(self) -> None:
        self._protocol.reader_slow()

    def resumeProducing(self) -> None:
        self._protocol.reader_drained()

    def stopProducing(self) -> None:
        self._protocol.reader_drained()


class ControlFactory(ServerFactory):
    """Builds the connections of the control socket."""

    noisy = False

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def serve(self, daemon: Daemon) -> None:
        """What new connections get to from now on."""
        self._daemon = daemon

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol:  # noqa: ARG002
        protocol = ControlProtocol(self._daemon)
        protocol.factory = self
        return protocol

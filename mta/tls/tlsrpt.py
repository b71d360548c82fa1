"""
Send the reports on TLS, one for each domain and day (RFC 8460).

Owns: when a report goes out, to which of the domain's places, and how often that is tried.
Never: counts sessions (`tlsrpt_tally.py`), writes a report (`tlsrpt_report.py`), keeps any (`tlsrpt_store.py`).
Fails: never; the log says what came of each.

All workers look for what is due; the store gives each report to one of them, for `LEASE` seconds. Who dies with it has
it taken over by another one then, and what a place has taken by that time is not sent there again.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mta.address import Address
from mta.interfaces import IResolver
from mta.lookup import Status
from mta.message.tls_report import Letter, tls_report_message
from mta.tls.https import Https
from mta.tls.tlsrpt_post import TIMEOUT, post
from mta.tls.tlsrpt_report import Submitter, TlsReport
from mta.tls.tlsrpt_store import Delivered, Report, State, TlsrptStore, end_of
from mta.tls.tlsrpt_text import MAX_PLACES, Mail, Place, TlsrptTextError, Web, places
from mta.tls_report import SECONDS_OF_DAY, day_of
from mta.web import WebError

LOOK_EVERY = 300.0
# A daemon that was down looks soon, when it is busy with its start no more.
FIRST_LOOK = 5.0
# Behind the end of a day all workers have written what they counted.
SETTLED_AFTER = 600.0
# RFC 8460 4.1: a random delay of up to four hours, for all the world's days end at once.
SPREAD = 4 * 3600.0
# Twice what all places of a report may take.
LEASE = 2 * MAX_PLACES * TIMEOUT
# RFC 8460 5.5: for up to 24 hours, ideally with exponential back-off.
TRIED_FOR = 24 * 3600.0
BACK_OFF = 900.0
MAX_BACK_OFF = 4 * 3600.0

# Puts a message into our own queue: the sender, the recipient, and what makes it of its queue id. Fires with that id.
SendMail = Callable[[Address, Address, Callable[[str], bytes]], Deferred[str]]


@dataclass(frozen=True, slots=True)
class Terms:
    """How reports are sent: who makes them, whom those by mail come from, and whether there are such."""

    submitter: Submitter
    sender: Address
    by_mail: bool


class Reporter:
    """
    Sends what is due. `send_mail` puts a message into our own queue; `note` writes a line of the log; `run_in_thread`
    runs what blocks on the disk.
    """

    _log = Logger()

    def __init__(
        self,
        terms: Terms,
        *,
        store: TlsrptStore,
        resolver: IResolver,
        web: Https,
        send_mail: SendMail,
        clock: IReactorTime,
        rng: random.Random,
        run_in_thread: Callable[..., Deferred[Any]],
        note: Callable[[str, Mapping[str, str]], None],
    ) -> None:
        self._terms = terms
        self._store = store
        self._resolver = resolver
        self._web = web
        self._send_mail = send_mail
        self._clock = clock
        self._rng = rng
        self._run_in_thread = run_in_thread
        self._note = note
        self._under_way: Deferred[None] | None = None
        self._first: IDelayedCall | None = None
        self._looking = LoopingCall(self._look_safely)
        self._looking.clock = clock

    def start(self) -> None:
        """Begin to look for what is due."""
        self._first = self._clock.callLater(FIRST_LOOK, self._begin)

    def _begin(self) -> None:
        self._looking.start(LOOK_EVERY).addErrback(lambda fault: self._log.failure("the sending of TLS reports", fault))

    def stop(self) -> None:
        """Send nothing more. What is cut off is taken up by who comes next."""
        if self._first is not None and self._first.active():
            self._first.cancel()
        if self._looking.running:
            self._looking.stop()
        if self._under_way is not None:
            self._under_way.cancel()

    def _look_safely(self) -> Deferred[None]:
        self._under_way = Deferred.fromCoroutine(self.look())
        return self._under_way.addErrback(self._failed)

    def _failed(self, fault: Any) -> None:
        if fault.check(CancelledError) is None:
            if fault.check(sqlite3.Error, OSError):
                self._note("tlsrpt-store", {"reason": f"cannot read what to report: {fault.getErrorMessage()}"})
            else:
                self._log.failure("the sending of TLS reports", fault)

    async def look(self) -> None:
        """Plan the reports on days that are over, and send those that are due, one after the other."""
        await self._run_in_thread(self._store.plan, day_of(self._clock.seconds()), self._due)
        while (report := await self._run_in_thread(self._store.claim, self._clock.seconds(), LEASE)) is not None:
            await self._run_in_thread(self._store.record, await self._dealt_with(report))

    def _due(self, day: int) -> float:
        return end_of(day) + self._rng.uniform(SETTLED_AFTER, SPREAD)

    async def _dealt_with(self, report: Report) -> Report:
        """The report as it is after this try."""
        now = self._clock.seconds()
        report = replace(report, tries=report.tries + 1, first=now if report.first is None else report.first)
        answer = await self._resolver.lookup(f"_smtp._tls.{report.domain}", "TXT")
        if answer.status is Status.COULD_NOT_ASK:
            return self._later(report, f"cannot look up its record: {answer.reason}")
        try:
            wanted = places(answer.records) if answer.status is Status.ANSWER else None
        except TlsrptTextError as error:
            self._say_failed(report, "", str(error))
            return replace(report, state=State.UNWANTED)
        if not wanted:
            return replace(report, state=State.UNWANTED)
        return await self._sent(report, wanted)

    async def _sent(self, report: Report, wanted: tuple[Place, ...]) -> Report:
        tallies = await self._run_in_thread(self._store.tallies, report.day, report.domain)
        made = TlsReport(self._terms.submitter, report.domain, report.day, tallies)
        octets = made.compressed()
        is_wanted = False
        for place in wanted:
            before = report.places.get(place.uri)
            if before is not None and not before.trouble:
                is_wanted = True
                continue
            if isinstance(place, Mail) and not self._terms.by_mail:
                reports = {**report.places, place.uri: Delivered(self._clock.seconds(), "tls.reports.mail is off")}
                report = replace(report, places=reports)
                continue
            is_wanted = True
            trouble = await self._trouble_at(place, made, octets)
            report = replace(report, places={**report.places, place.uri: Delivered(self._clock.seconds(), trouble)})
            if not trouble:
                await self._run_in_thread(self._store.note, report)
        if not is_wanted:
            return replace(report, state=State.UNWANTED)
        failed = {
            place.uri: report.places[place.uri].trouble
            for place in wanted
            if report.places[place.uri].trouble and (isinstance(place, Web) or self._terms.by_mail)
        }
        if not failed:
            return replace(report, state=State.SENT)
        for uri, trouble in failed.items():
            self._say_failed(report, uri, trouble)
        return self._later(report, "")

    async def _trouble_at(self, place: Place, made: TlsReport, octets: bytes) -> str:
        """Hand the report to a place; why it was not taken, "" where it was."""
        fields = {"domain": made.domain, "day": _date(made.day), "to": place.uri, "report": made.id}
        try:
            if isinstance(place, Web):
                await post(self._web, place, octets)
            else:
                fields["message"] = await self._mailed(place, made, octets)
        except WebError as error:
            return str(error)
        except CancelledError:
            raise
        except Exception as error:  # a full disk, a spool that is damaged: it is tried again
            return f"{type(error).__name__}: {error}"
        self._note("tlsrpt-sent", fields)
        return ""

    async def _mailed(self, place: Mail, made: TlsReport, octets: bytes) -> str:
        sender, submitter, now = self._terms.sender, self._terms.submitter.domain, self._clock.seconds()
        letter = Letter(sender, place.address, made.domain, submitter, made.id, _date(made.day), made.file_name, octets)
        return await self._send_mail(
            sender, place.address, lambda queue_id: tls_report_message(letter, now=now, message_id=queue_id)
        )

    def _later(self, report: Report, reason: str) -> Report:
        """Tried again, or given up: where one place has taken it, it is a report that was sent (RFC 8460 3)."""
        if reason:
            self._say_failed(report, "", reason)
        now = self._clock.seconds()
        due = now + min(BACK_OFF * 2 ** (report.tries - 1), MAX_BACK_OFF)
        if report.first is not None and due > report.first + TRIED_FOR:
            taken = any(not each.trouble for each in report.places.values())
            return replace(report, state=State.SENT if taken else State.FAILED)
        return replace(report, due=due)

    def _say_failed(self, report: Report, uri: str, reason: str) -> None:
        fields = {"domain": report.domain, "day": _date(report.day), "to": uri, "reason": reason}
        self._note("tlsrpt-failed", {name: value for name, value in fields.items() if value})


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * SECONDS_OF_DAY, UTC).strftime("%Y-%m-%d")

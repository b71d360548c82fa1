"""
Who lives here, where tables have to be asked: the policy that a server's sessions ask.

Owns: the way from a question of `mta/policy/lookups.py` to the tables and back, and what is said when one can't be
asked.
Never: decides by itself what an address means, or who may relay.
Fails: never: trouble is a verdict (451), `CouldNotAsk`, or a Deferred that fails for the queue to try again.

An answer comes at once where all tables have theirs at hand; a Deferred is made only where one has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from mta.address import Address
from mta.interfaces import ITable
from mta.policy.directory import Meaning, NotLocal, Unknown
from mta.policy.lookups import Ask, Asking, Hit, Lookups, LookupTrouble, Source
from mta.policy.relay import RelayPolicy, no_such_user
from mta.policy.verdict import Verdict
from mta.smtp import message_replies
from mta.table import CouldNotAsk, Found
from mta.tables.watched import Note

Answer = TypeVar("Answer")
Instead = TypeVar("Instead")
Tables = Mapping[Source, Sequence[ITable]]


def drive(asking: Asking[Answer], tables: Tables) -> Answer | Deferred[Answer]:
    """What a generator of `Lookups` comes to. Raises `LookupTrouble`, or the Deferred fails with it."""
    sent: Hit | None = None
    try:
        while True:
            looked = _look(asking.send(sent), tables)
            if isinstance(looked, Deferred):
                return Deferred.fromCoroutine(_drive_on(asking, looked, tables))
            sent = looked
    except StopIteration as end:
        answer: Answer = end.value
        return answer


async def _drive_on(asking: Asking[Answer], looked: Deferred[Hit | None], tables: Tables) -> Answer:
    sent = await looked
    try:
        while True:
            found = _look(asking.send(sent), tables)
            sent = await found if isinstance(found, Deferred) else found
    except StopIteration as end:
        answer: Answer = end.value
        return answer


def _look(ask: Ask, tables: Tables) -> Hit | Deferred[Hit | None] | None:
    """The first key that is there: each is looked for in all tables before the next one."""
    pairs = ((key, table) for key in ask.keys for table in tables.get(ask.source, ()))
    for key, table in pairs:
        found = table.lookup(key)
        if isinstance(found, Deferred):
            return Deferred.fromCoroutine(_look_on(found, key, pairs))
        if (hit := _hit(key, found)) is not None:
            return hit
    return None


async def _look_on(first: Deferred[Found], key: str, pairs: Iterator[tuple[str, ITable]]) -> Hit | None:
    hit = _hit(key, await first)
    while hit is None:
        pair = next(pairs, None)
        if pair is None:
            return None
        found = pair[1].lookup(pair[0])
        hit = _hit(pair[0], await found if isinstance(found, Deferred) else found)
    return hit


def _hit(key: str, found: Found) -> Hit | None:
    if isinstance(found, CouldNotAsk):
        raise LookupTrouble(found.reason)
    return None if found is None else Hit(key, found)


class Residents:
    """
    The policy of a configuration with tables: `mta.server.listener.Policy`, and what it calls a directory.

    `rules` are those of the configuration, `lookups` its tables' order. `note` is told why something could not be
    asked.
    """

    def __init__(self, rules: RelayPolicy, lookups: Lookups, tables: Tables, note: Note) -> None:
        self._rules = rules
        self._lookups = lookups
        self._tables = tables
        self._note = note

    @property
    def directory(self) -> Residents:
        return self

    def is_trusted(self, ip: str) -> bool:
        return self._rules.is_trusted(ip)

    def is_refused(self, ip: str) -> bool:
        return self._rules.is_refused(ip)

    def recipient(self, address: Address, trusted: bool) -> Verdict | Deferred[Verdict]:
        """As `RelayPolicy.recipient`; 451 where a table can't be asked."""
        return self._guarded(self._judging(address, trusted), self._not_now)

    def meaning(self, text: str) -> Meaning | CouldNotAsk | Deferred[Meaning | CouldNotAsk]:
        """For VRFY: as `Directory.meaning`."""
        return self._guarded(self._lookups.meaning(text), _reason)

    def expand(
        self, text: str
    ) -> tuple[Address, ...] | CouldNotAsk | Deferred[tuple[Address, ...] | CouldNotAsk | None] | None:
        """For EXPN: as `Directory.expand`."""
        return self._guarded(self._lookups.expand(text), _reason)

    def is_nobody(self, address: Address) -> bool | Deferred[bool]:
        """Whether no such user is here. Raises `LookupTrouble`, or the Deferred fails with it: it can't be told."""
        return drive(self._is_nobody(address), self._tables)

    def close(self) -> None:
        """Give back what the tables have open."""
        for tables in self._tables.values():
            for table in tables:
                table.close()

    def _judging(self, address: Address, trusted: bool) -> Asking[Verdict]:
        found = yield from self._lookups.resolve(address)
        if isinstance(found.resolved, NotLocal) and self._rules.is_relay_domain(address.domain):
            verdict = self._rules.judged(address, trusted, found.resolved)
            if verdict.accepts and not (yield from self._lookups.is_relay_recipient(address)):
                return no_such_user(address)
            return verdict
        return self._rules.judged(address, trusted, found.resolved, found.recipients or ())

    def _is_nobody(self, address: Address) -> Asking[bool]:
        found = yield from self._lookups.resolve(address)
        return isinstance(found.resolved, Unknown)

    def _guarded(
        self, asking: Asking[Answer], trouble: Callable[[LookupTrouble], Instead]
    ) -> Answer | Instead | Deferred[Answer | Instead]:
        try:
            answer = drive(asking, self._tables)
        except LookupTrouble as error:
            return self._told(error, trouble)
        if not isinstance(answer, Deferred):
            return answer
        return Deferred.fromCoroutine(self._waited(answer, trouble))

    async def _waited(self, answer: Deferred[Any], trouble: Callable[[LookupTrouble], Instead]) -> Any:
        try:
            return await answer
        except LookupTrouble as error:
            return self._told(error, trouble)

    def _told(self, error: LookupTrouble, trouble: Callable[[LookupTrouble], Instead]) -> Instead:
        self._note("table-trouble", {"reason": str(error)})
        return trouble(error)

    def _not_now(self, error: LookupTrouble) -> Verdict:
        return Verdict(message_replies.LOOKUP_FAILED.reply, f"could not ask: {error}")


def _reason(error: LookupTrouble) -> CouldNotAsk:
    return CouldNotAsk(str(error))

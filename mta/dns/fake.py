"""
A resolver that answers from a table, for tests and the simulator.

Owns: the same rules as the real one (names, NODATA against NXDOMAIN, aliases), without a network.
Never: waits on its own; `hold` is for tests that need a question under way.
Fails: never, as `IResolver` demands; `fail` injects the trouble that a network would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mta.dns.question import Question, could_not_ask, question_from
from mta.dns.wire import MAX_ALIASES, MAX_RECORDS
from mta.interfaces import IResolver
from mta.lookup import Answer, Record, Status

Zones = Mapping[tuple[str, str], Answer | Iterable[Record]]

_NEGATIVE_TTL = 60


@implementer(IResolver)
class FakeResolver:
    """
    Answers from `zones`: (name, kind) -> an `Answer`, or its records.

    A name that stands there with another kind has NODATA, any other is NXDOMAIN. A CNAME, with its target as the only
    record, is followed. `asked` lists every question, in order, as it was asked. What is said of names in the `signed`
    zones is secure, that there is no such record or name included; an `Answer` in the table says so for itself.
    """

    def __init__(self, zones: Zones | None = None, *, ttl: int = 300, signed: Iterable[str] = ()) -> None:
        self.asked: list[tuple[str, str]] = []
        self.signed = frozenset(signed)
        self._ttl = ttl
        self._answers: dict[Question, Answer] = {}
        self._existing: set[str] | None = None  # names, found out when one of them is asked for
        self._held: list[tuple[Deferred[Answer], str, str]] | None = None
        for (name, kind), given in (zones or {}).items():
            self.set(name, kind, given)

    def set(self, name: str, kind: str, given: Answer | Iterable[Record]) -> None:
        """Answer this question so from now on."""
        question = self._key(name, kind)
        if isinstance(given, Answer):
            answer = given
        else:
            answer = Answer(Status.ANSWER, tuple(given), self._ttl, self._is_signed(question.name))
        self._answers[question] = answer
        if self._existing is not None:
            self._existing.update(_with_those_above(question.name))

    def fail(self, name: str, kind: str, reason: str = "the server failed (SERVFAIL)") -> None:
        """Answer this question with COULD_NOT_ASK from now on."""
        self.set(name, kind, could_not_ask(reason))

    def forget(self, name: str, kind: str) -> None:
        """Remove the records of this question."""
        self._answers.pop(self._key(name, kind), None)
        self._existing = None

    def hold(self) -> None:
        """Keep all questions waiting until `release`."""
        self._held = []

    def release(self) -> None:
        """Answer all that waits, by what the table says now, and answer at once again."""
        held, self._held = self._held or [], None
        for waiting, name, kind in held:
            if not waiting.called:
                waiting.callback(self._find(name, kind))

    def lookup(self, name: str, kind: str) -> Deferred[Answer]:
        self.asked.append((name, kind))
        if self._held is None:
            return succeed(self._find(name, kind))
        waiting: Deferred[Answer] = Deferred()
        self._held.append((waiting, name, kind))
        return waiting

    def _key(self, name: str, kind: str) -> Question:
        question = question_from(name, kind)
        if isinstance(question, Answer):
            raise ValueError(f"{kind} {name!r} cannot be asked for: {question.reason}")
        return question

    def _find(self, name: str, kind: str) -> Answer:
        question = question_from(name, kind)
        if isinstance(question, Answer):
            return question
        seen = [question.name]
        ttl, secure = self._ttl, True
        while True:
            found = self._answers.get(Question(seen[-1], kind))
            alias = None if found or kind == "CNAME" else self._answers.get(Question(seen[-1], "CNAME"))
            if alias is None or alias.status is not Status.ANSWER:
                break
            target = str(alias.records[0]).lower()
            ttl, secure = min(ttl, alias.ttl), secure and alias.secure
            if target in seen or len(seen) > MAX_ALIASES:
                return could_not_ask(f"CNAME records of {question.name} make a loop or go on too long")
            seen.append(target)
        found = found or alias or self._missing(seen[-1])
        if len(seen) == 1:
            return replace(found, records=found.records[:MAX_RECORDS])
        records, ttl = found.records[:MAX_RECORDS], min(ttl, found.ttl)
        return replace(found, records=records, ttl=ttl, secure=secure and found.secure, canonical=seen[-1])

    def _is_signed(self, name: str) -> bool:
        return not self.signed.isdisjoint(_with_those_above(name))

    def _missing(self, name: str) -> Answer:
        """What a server says of a question without records."""
        if self._existing is None:
            self._existing = {each for known in self._answers for each in _with_those_above(known.name)}
        secure = self._is_signed(name)
        if name in self._existing:
            return Answer(Status.NODATA, (), _NEGATIVE_TTL, secure, f"{name} has no such record")
        return Answer(Status.NXDOMAIN, (), _NEGATIVE_TTL, secure, f"{name} does not exist")


def _with_those_above(name: str) -> Iterable[str]:
    """The name, and all above it: they exist as well (RFC 8020 2)."""
    labels = name.split(".")
    return (".".join(labels[start:]) for start in range(len(labels)))

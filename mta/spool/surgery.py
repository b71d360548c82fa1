"""
Carry out what operators order, however long the queue is.

Owns: the steps of an operation one behind the other, each a transaction, and what a start goes on with.
Never: decides whom to tell in memory (`mta/admin/changing.py` does).
Fails: with `SpoolError`; then the operation is done up to a place that the spool knows, and the next start goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mta.interfaces import ISurgery
from mta.order import Done, Order
from mta.selection import Selection
from mta.spool import operating, rules
from mta.spool.operating import Step
from mta.spool.schema import SpoolConnection
from mta.spool.selecting import Routes

T = TypeVar("T")

# Recipients changed in one transaction: others must not wait long behind it.
AT_ONCE = 1000


class Submit(Protocol):
    """`ThreadedCommit.submit` and `InlineCommit.submit`."""

    def __call__(self, work: Callable[[SpoolConnection], T], /) -> Deferred[T]: ...


@implementer(ISurgery)
class Surgery:
    """The operations on one spool; `submit` runs a function of its connection in a transaction."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit

    def operate(self, order: Order, routes: Routes | None = None) -> Deferred[Done]:
        return Deferred.fromCoroutine(self._operate(order, routes))

    def resume(self, routes: Routes | None = None) -> Deferred[list[Done]]:
        return Deferred.fromCoroutine(self._resume(routes))

    def expire(self, before: float) -> Deferred[None]:
        return Deferred.fromCoroutine(self._expire(before))

    def add_rule(self, selection: Selection, by: str, at: float) -> Deferred[int]:
        added = self._submit(lambda database: rules.add(database, selection, by, at))
        return added.addCallback(self._reload)

    def remove_rule(self, number: int) -> Deferred[bool]:
        return self._submit(lambda database: rules.remove(database, number)).addCallback(self._reload)

    def load_rules(self) -> Deferred[None]:
        return self._submit(rules.load)

    def _reload(self, result: T) -> Deferred[T]:
        # Apart, for in the same transaction the connection would follow a rule whose commit fails.
        return self.load_rules().addCallback(lambda _loaded: result)

    async def _operate(self, order: Order, routes: Routes | None) -> Done:
        def first(database: SpoolConnection) -> tuple[int, Step]:
            number = operating.begin(database, order)
            return number, operating.step(database, number, order, routes, AT_ONCE)

        # What is small is one transaction, from the note that it begins to the last recipient.
        number, step = await self._submit(first)
        return await self._go_on(number, order, routes, step)

    async def _go_on(self, number: int, order: Order, routes: Routes | None, step: Step) -> Done:
        def work(database: SpoolConnection) -> Step:
            return operating.step(database, number, order, routes, AT_ONCE)

        changed, stayed = step.changed, step.stayed
        while not step.is_last:
            step = await self._submit(work)
            changed += step.changed
            stayed += step.stayed
        return Done(order, number if changed else None, changed, stayed)

    async def _resume(self, routes: Routes | None) -> list[Done]:
        def read(database: SpoolConnection) -> list[tuple[int, Order]]:
            return [(number, operating.read_order(database, number)) for number in operating.unfinished(database)]

        nothing = Step([], 0, is_last=False)
        return [await self._go_on(number, order, routes, nothing) for number, order in await self._submit(read)]

    async def _expire(self, before: float) -> None:
        while await self._submit(lambda database: operating.expire(database, before, AT_ONCE)):
            pass

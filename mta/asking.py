"""
Ask the network something for a command, which has no reactor of its own.

Owns: the reactor's run from the question to its answer, and the resolver of the configuration.
Never: is imported before a command asks; knows the question.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.config.schema import Config
from mta.dns.configured import resolver_of, servers_of
from mta.dns.resolver import Resolver

Answer = TypeVar("Answer")
# The reactor is many interfaces in one object, and no type says so.
_reactor: Any = reactor


def answer(config: Config, ask: Callable[[Any, Resolver], Coroutine[Deferred[Any], Any, Answer]]) -> Answer:
    """
    What `ask` answers, given the reactor and a resolver; what it raises is raised. Ctrl-C is KeyboardInterrupt.

    Once in a process: a reactor does not start twice.
    """
    got: list[Answer | Failure] = []

    async def asking() -> None:
        resolver = resolver_of(config.dns, _reactor, servers_of(config.dns))
        try:
            got.append(await ask(_reactor, resolver))
        except Exception:
            got.append(Failure())
        await resolver.stop()
        _reactor.stop()

    _reactor.callWhenRunning(lambda: Deferred.fromCoroutine(asking()))
    _reactor.run()
    if not got:
        raise KeyboardInterrupt
    if isinstance(got[0], Failure):
        got[0].raiseException()
    return got[0]

"""
Watch whether the resolvers validate.

Owns: the question that a validating resolver must call secure, asked of each server at the start and from time to time,
what follows for the trust in AD, and the log line.
Never: decides what DANE does with a secure answer (`mta/tls/dane_lookup.py`).
Fails: never. A server that can't be asked now proves nothing, and is asked again soon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.interfaces import IResolver
from mta.lookup import Answer, Status

# Seconds until the next look: resolvers change with the machine's set-up, not by the minute.
AGAIN = 3600
# Where a server gave no answer: a machine that starts may have its network a little later.
AGAIN_SOON = 60


class Trusting(Protocol):
    """What believes the AD flag, or not."""

    trusts_ad: bool


def answers_by(answers: Mapping[str, Answer]) -> tuple[Sequence[str], Sequence[str]]:
    """The servers that do not validate, and those that can't tell now with the reason, by what each answered."""
    silent = [f"{server}: {answer.reason}" for server, answer in answers.items() if _is_silent(answer)]
    lax = [server for server, answer in answers.items() if not answer.secure and not _is_silent(answer)]
    return lax, silent


def _is_silent(answer: Answer) -> bool:
    return answer.status is Status.COULD_NOT_ASK


class Validation:
    """
    Keeps `resolver.trusts_ad` right, from `start` to `stop`.

    `servers` are resolvers of one server each, by the name for the log; empty where the configuration trusts none of
    them. They must not remember answers. `name` is in a signed zone.
    """

    _log = Logger()

    def __init__(self, *, clock: IReactorTime, resolver: Trusting, servers: Mapping[str, IResolver], name: str) -> None:
        self._clock = clock
        self._resolver = resolver
        self._servers = servers
        self._name = name
        self._said = ""
        self._next: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        if self._servers:
            self._look()
        else:
            self._log.info("DANE is off: dns.trust_ad trusts none of the resolvers")

    def stop(self) -> None:
        """Watch no more."""
        self._servers = {}
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._looking is not None:
            self._looking.cancel()

    def _look(self) -> None:
        self._looking = Deferred.fromCoroutine(self._ask())
        self._looking.addErrback(self._trouble)

    def _trouble(self, fault: Failure) -> None:
        """A fault of our own, or the cancelled question of `stop`."""
        if self._servers:
            self._log.failure("watching the resolvers failed", fault)
            self._next = self._clock.callLater(AGAIN, self._look)

    async def _ask(self) -> None:
        names = list(self._servers)
        # Any type will do: that it does not exist is as secure as a record (RFC 4035 5.4).
        asked = [self._servers[name].lookup(self._name, "A") for name in names]
        answers = await gatherResults(asked, consumeErrors=True)
        lax, silent = answers_by(dict(zip(names, answers, strict=True)))
        if lax:
            self._resolver.trusts_ad = False
            line = f"DANE is off: {', '.join(lax)} did not call {self._name} validated (AD); see dns.validated_name"
        elif silent:
            # What is known stands: an outage of the DNS must not turn security off.
            line = f"cannot tell whether the resolvers validate: {'; '.join(silent)}"
        else:
            self._resolver.trusts_ad = True
            line = f"DANE is on: {', '.join(names)} validated {self._name}"
        if line != self._said:
            self._said = line
            say = self._log.info if self._resolver.trusts_ad and not silent else self._log.warn
            say("{line}", line=line)
        self._next = self._clock.callLater(AGAIN_SOON if silent else AGAIN, self._look)

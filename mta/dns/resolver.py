"""
Ask the DNS through the servers that the configuration names.

Owns: the order of servers and rounds, the cache (RFC 2308), one query for equal questions, aliases that leave an
answer, the bounds on time and on queries under way.
Never: decides what an answer means for a message; opens a socket itself (`mta/dns/exchange.py`).
Fails: never; trouble is `Status.COULD_NOT_ASK` with a reason.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.dns.cache import Cache
from mta.dns.exchange import Exchange, IReactorDNS, Server, UnansweredError
from mta.dns.question import Question, could_not_ask, question_from
from mta.dns.wire import MAX_ALIASES, MAX_TTL, Alias, Refusal, judge
from mta.interfaces import IResolver
from mta.lookup import Answer, Status

# The rest waits its turn: a burst overruns the server's receive buffer, and each query lost there costs a time-out.
# Measured on loopback with the default buffer of Linux (208 KiB): of 256 at once an eighth was lost, of 100 none.
MAX_UNDER_WAY = 100


@implementer(IResolver)
class Resolver:
    """
    A stub resolver with a cache.

    `servers` are (IP address, port), asked in turn with `timeout` seconds for each, `attempts` rounds. A question takes
    no longer than all of these together and one more, whatever happens. `rng` draws the query ids: give a
    `random.SystemRandom` where the network is real.

    `trusts_ad`: whether the servers' word that an answer is validated (AD) counts. RFC 4035 4.9.3 allows it where both
    they and the path to them are trusted; else no answer is secure. It may change (`mta/dns/validation.py`).
    """

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: IReactorDNS,
        servers: Sequence[Server],
        timeout: float = 5.0,
        attempts: int = 2,
        rng: random.Random,
        cache: Cache[Question, Answer],
        negative_ttl: float = 3600.0,
        trusts_ad: bool = False,
    ) -> None:
        self.trusts_ad = trusts_ad
        if not servers:
            raise ValueError("a resolver needs at least one server")
        self._reactor = reactor
        # One spelling for each address: it is compared with the source of a datagram.
        self._servers = [(str(ipaddress.ip_address(host)), port) for host, port in servers]
        self._preferred = 0
        self._attempts = attempts
        self._patience = timeout * (attempts * len(servers) + 1)  # one more: the last round may need TCP
        self._exchange = Exchange(reactor=reactor, timeout=timeout, rng=rng)
        self._cache = cache
        self._negative_ttl = negative_ttl
        self._under_way = DeferredSemaphore(MAX_UNDER_WAY)
        self._searches: dict[Question, Deferred[Answer]] = {}
        self._waiting: dict[Question, list[Deferred[Answer]]] = {}
        self._stopped = False

    def lookup(self, name: str, kind: str) -> Deferred[Answer]:
        question = question_from(name, kind)
        if isinstance(question, Answer):
            return succeed(question)
        remembered = self._cache.with_life(question)
        if remembered is not None:
            answer, left = remembered
            return succeed(self._trusted(replace(answer, ttl=int(left))))
        if self._stopped:
            return succeed(could_not_ask("the resolver was stopped"))
        return self._join(question)

    def stop(self) -> Deferred[None]:
        """Answer what is under way with COULD_NOT_ASK and close the sockets; the Deferred fires when they are gone."""
        self._stopped = True
        for search in list(self._searches.values()):
            search.cancel()
        return Deferred.fromCoroutine(self._exchange.close())

    def _join(self, question: Question) -> Deferred[Answer]:
        """Wait for the answer to a question; the first one to wait has it asked."""
        waiting = self._waiting.get(question)
        is_first = waiting is None
        if waiting is None:
            waiting = self._waiting[question] = []
        answer: Deferred[Answer] = Deferred(waiting.remove)
        waiting.append(answer)
        if is_first:
            self._start(question)
        return answer

    def _start(self, question: Question) -> None:
        search = Deferred.fromCoroutine(self._search(question))
        self._searches[question] = search
        search.addTimeout(self._patience, self._reactor)
        search.addErrback(self._trouble, question)
        search.addCallback(self._found, question)

    def _trouble(self, failure: Failure, question: Question) -> Answer:
        """A search that came to no answer of its own."""
        if failure.check(TimeoutError):
            return could_not_ask(f"no answer within {self._patience:g} s")
        if failure.check(CancelledError):
            return could_not_ask("the resolver was stopped")
        self._log.failure("asking for {question} failed", failure, question=question)
        return could_not_ask(f"internal error: {type(failure.value).__name__}: {failure.value}")

    def _found(self, answer: Answer, question: Question) -> None:
        if answer.status in (Status.NODATA, Status.NXDOMAIN):
            answer = replace(answer, ttl=min(answer.ttl, int(self._negative_ttl)))
        self._cache.put(question, answer, answer.ttl)
        self._searches.pop(question, None)
        for waiting in self._waiting.pop(question, []):
            waiting.callback(self._trusted(answer))

    def _trusted(self, answer: Answer) -> Answer:
        """The answer without what we must not believe. The cache keeps the server's word, whose worth may change."""
        return answer if self.trusts_ad or not answer.secure else replace(answer, secure=False)

    async def _search(self, question: Question) -> Answer:
        """The answer to a question, over all the aliases that lead to it."""
        await self._under_way.acquire()
        try:
            name, ttl, secure, seen = question.name, MAX_TTL, True, {question.name}
            while True:
                found = await self._ask(Question(name, question.kind))
                if not isinstance(found, Alias):
                    # RFC 7672 2.1.3: one insecure alias makes all that it leads to insecure.
                    canonical = found.canonical or ("" if name == question.name else name)
                    return replace(found, ttl=min(found.ttl, ttl), secure=found.secure and secure, canonical=canonical)
                # RFC 1034 5.2.2: the answer ended with an alias, and the rest has to be asked for.
                name, ttl, secure = found.target, min(found.ttl, ttl), found.secure and secure
                if name in seen or len(seen) > MAX_ALIASES:
                    return could_not_ask(f"CNAME records of {question.name} make a loop or go on too long")
                seen.add(name)
        finally:
            self._under_way.release()

    async def _ask(self, question: Question) -> Answer | Alias:
        """The word of the first server that has one."""
        edns = True
        troubles: dict[Server, str] = {}
        for _ in range(self._attempts):
            for server in self._in_turn():
                try:
                    response = await self._exchange.ask(server, question, edns=edns)
                except UnansweredError as silence:
                    troubles[server] = str(silence)
                    self._avoid(server)
                    continue
                said = judge(response, question)
                if not isinstance(said, Refusal):
                    return said
                troubles[server] = said.reason
                edns = edns and not said.edns_trouble
        reasons = "; ".join(f"{host} port {port}: {reason}" for (host, port), reason in troubles.items())
        return could_not_ask(reasons)

    def _in_turn(self) -> list[Server]:
        return self._servers[self._preferred :] + self._servers[: self._preferred]

    def _avoid(self, server: Server) -> None:
        """Begin with the next server from now on: a dead one would cost every question its time-out."""
        if server == self._servers[self._preferred]:
            self._preferred = (self._preferred + 1) % len(self._servers)

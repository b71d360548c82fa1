"""
Know the MTA-STS policy of a domain whenever mail goes there (RFC 8461 5.1).

Owns: when a policy is looked for, fetched, checked and given up; what is done while a fetch fails.
Never: enforces a policy (the delivery client does), fetches (`sts_fetch.py`) or stores one itself (`sts_store.py`).
Fails: never; where no policy can be had there is none, and the log says why.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mta.interfaces import IResolver, IStsPolicies
from mta.lookup import Status
from mta.sts_policy import Mode, StsPolicy
from mta.tls.sts_fetch import INVALID, FetchError
from mta.tls.sts_store import Stored, StsStore, is_domain
from mta.tls.sts_text import StsTextError, policy_id

# How long a domain is not asked again whether its policy is still the one.
CHECK_EVERY = 4 * 3600.0
# RFC 8461 3.3 suggests to refresh once a day, whatever the id is.
FETCH_EVERY = 24 * 3600.0
# RFC 8461 3.3: "five minutes or longer" between attempts for one id; it doubles while they fail.
BACK_OFF = 300.0
MAX_BACK_OFF = 4 * 3600.0
# A policy with a shorter max_age is held this long all the same, for the same reason.
SHORTEST_LIFE = 300.0
# How often all that is stored is looked through: an attacker must not wait for the end of a policy (RFC 8461 10.2).
SWEEP_EVERY = 3600.0
# Where no mail went for a month nothing is refreshed.
UNUSED_AFTER = 30 * 24 * 3600.0
# Domains in memory.
SIZE = 10_000


class Fetches(Protocol):
    """What fetches a policy: `mta.tls.sts_fetch.StsFetcher`."""

    async def fetch(self, domain: str, id_: str) -> StsPolicy:
        """The policy that a domain publishes now. Raises `FetchError`."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the policy of a domain could not be had: `result` is TLSRPT's word (RFC 8460 4.3.2.2)."""

    reason: str
    result: str
    id: str
    failures: int
    retry: float


@implementer(IStsPolicies)
class StsPolicies:
    """
    Answers which policy a domain has. All processes of the daemon share what is in `store`.

    `run_in_thread` runs what blocks on the disk; `note` writes a line of the log. `start` begins with the refreshes.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        resolver: IResolver,
        fetcher: Fetches,
        store: StsStore,
        clock: IReactorTime,
        run_in_thread: Callable[..., Deferred[Any]],
        note: Callable[[str, Mapping[str, str]], None],
    ) -> None:
        self._resolver = resolver
        self._fetcher = fetcher
        self._store = store
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._note = note
        self._known: OrderedDict[str, Stored] = OrderedDict()
        self._troubles: OrderedDict[str, Trouble] = OrderedDict()
        self._doubts: OrderedDict[str, str] = OrderedDict()  # why the last look could not tell
        self._under_way: dict[str, Deferred[None]] = {}
        self._waiting: dict[str, list[Deferred[StsPolicy | None]]] = {}
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = clock
        self._stopped = False

    def policy(self, domain: str) -> Deferred[StsPolicy | None]:
        name = domain.lower().removesuffix(".")
        if not is_domain(name) or self._stopped:
            return succeed(None)
        stored = self._remembered(name)
        if stored is not None:
            # Mail does not wait while there is a policy: what is due is done beside it.
            if self._is_due(stored):
                self._begin(name, used=True)
            return succeed(stored.policy)
        waiting: Deferred[StsPolicy | None] = Deferred(lambda this: self._waiting[name].remove(this))
        self._waiting.setdefault(name, []).append(waiting)
        self._begin(name, used=True)
        return waiting

    def known(self, domain: str) -> StsPolicy | None:
        """The policy that mail to `domain` went by just now, from memory alone."""
        stored = self._known.get(domain)
        return stored.policy if stored is not None else None

    def trouble(self, domain: str) -> Trouble | None:
        """Why the last look for the domain's policy failed, if it did."""
        return self._troubles.get(domain.lower().removesuffix("."))

    def doubt(self, domain: str) -> str:
        return self._doubts.get(domain.lower().removesuffix("."), "")

    def start(self) -> None:
        """Begin to refresh what is stored before it ends."""
        self._sweeping.start(SWEEP_EVERY, now=False).addErrback(self._fault, "the refresh of policies")

    def stop(self) -> None:
        """Ask nobody any more: who waits gets no policy, and has nothing delivered by it."""
        self._stopped = True
        if self._sweeping.running:
            self._sweeping.stop()
        for under_way in list(self._under_way.values()):
            under_way.cancel()

    # What is known

    def _remembered(self, domain: str) -> Stored | None:
        """The policy in memory or on disk that has not ended; the newer one where another worker was at it."""
        now = self._clock.seconds()
        known = self._known.get(domain)
        if known is None or self._is_due(known) or _ends(known) <= now:
            stored = self._store.read(domain)
            if stored is not None and (known is None or stored.checked > known.checked) and stored.fetched <= now:
                known = stored
                self._remember(domain, stored)
        if known is None:
            return None
        if _ends(known) <= now:
            self._known.pop(domain, None)
            return None
        self._known.move_to_end(domain)
        return known

    def _remember(self, domain: str, stored: Stored) -> None:
        self._known[domain] = stored
        self._known.move_to_end(domain)
        if len(self._known) > SIZE:
            self._known.popitem(last=False)

    def _is_due(self, stored: Stored) -> bool:
        """Whether the domain should be asked."""
        return self._clock.seconds() >= stored.checked + _check_after(stored)

    # Asking

    def _begin(self, domain: str, *, used: bool) -> Deferred[None]:
        """Ask the domain, unless that is under way: all who wait get the answer."""
        under_way = self._under_way.get(domain)
        if under_way is None:
            under_way = self._under_way[domain] = Deferred.fromCoroutine(self._ask(domain, used=used))
            under_way.addErrback(self._fault, f"the policy of {domain}")
            under_way.addCallback(lambda _: self._done(domain))
        return under_way

    def _done(self, domain: str) -> None:
        self._under_way.pop(domain, None)
        stored = None if self._stopped else self._remembered(domain)
        for waiting in self._waiting.pop(domain, []):
            waiting.callback(stored.policy if stored else None)

    def _fault(self, failure: Failure, where: str) -> None:
        if not self._stopped:
            self._log.failure("{where} failed", failure, where=where)

    async def _ask(self, domain: str, *, used: bool) -> None:
        """One look at what the domain publishes; what comes of it is remembered."""
        now = self._clock.seconds()
        stored = self._remembered(domain)
        trouble = self._troubles.get(domain)
        answer = await self._resolver.lookup(f"_mta-sts.{domain}", "TXT")
        self._doubts.pop(domain, None)
        if answer.status is Status.COULD_NOT_ASK:
            self._doubted(domain, f"_mta-sts.{domain}: {answer.reason or 'no answer'}")
        try:
            id_ = policy_id(answer.records) if answer.status is Status.ANSWER else None
        except StsTextError as error:
            await self._failed(domain, str(error), INVALID, "", stored)
            return
        if id_ is None:
            self._troubles.pop(domain, None)
            # RFC 8461 3.1, 5.1: without a record there is nothing to fetch, and what is stored lives on to its end.
            if stored is not None:
                await self._keep(domain, stored, used=used)
            return
        if trouble is not None and trouble.id == id_ and now < trouble.retry:
            self._doubted(domain, trouble.reason)
            if stored is not None:
                await self._keep(domain, stored, used=used)
            return
        if stored is not None and stored.policy.id == id_ and not _is_old(stored, now):
            await self._keep(domain, stored, used=used)
            return
        try:
            policy = await self._fetcher.fetch(domain, id_)
        except FetchError as error:
            self._doubted(domain, str(error))
            await self._failed(domain, str(error), error.result, id_, stored)
            return
        self._troubles.pop(domain, None)
        now = self._clock.seconds()
        if stored is None or stored.policy != policy:
            self._note("sts-policy", {"domain": domain, "mode": policy.mode.value, "id": policy.id})
        last_used = now if used or stored is None else stored.used
        await self._write(domain, Stored(policy, fetched=now, checked=now, used=last_used))

    def _doubted(self, domain: str, reason: str) -> None:
        self._doubts[domain] = reason
        if len(self._doubts) > SIZE:
            self._doubts.popitem(last=False)

    async def _keep(self, domain: str, stored: Stored, *, used: bool) -> None:
        """The stored policy goes on as it is; the domain is not asked again for some time."""
        now = self._clock.seconds()
        await self._write(domain, replace(stored, checked=now, used=now if used else stored.used))

    async def _failed(self, domain: str, reason: str, result: str, id_: str, stored: Stored | None) -> None:
        """No policy could be had: say so, once for each attempt, and leave the domain alone for longer each time."""
        now = self._clock.seconds()
        before = self._troubles.get(domain)
        if before is not None and before.id == id_ and now < before.retry:
            return  # said already: a malformed record is found again with each message
        failures = before.failures + 1 if before is not None and before.id == id_ else 1
        retry = now + min(BACK_OFF * 2 ** (failures - 1), MAX_BACK_OFF)
        self._troubles[domain] = Trouble(reason, result, id_, failures, retry)
        self._troubles.move_to_end(domain)
        if len(self._troubles) > SIZE:
            self._troubles.popitem(last=False)
        fields = {"domain": domain, "result": result, "reason": reason}
        # RFC 8461 3.3: tell administrators of a refresh that fails, unless the mode is "none".
        if stored is None or stored.policy.mode is not Mode.NONE:
            kept = "" if stored is None else stored.policy.mode.value
            self._note("sts-failed", {**fields, "kept": kept} if kept else fields)
        if stored is not None:
            # Asked again when the back-off is over, and not only hours later.
            self._remember(domain, replace(stored, checked=max(stored.checked, retry - _check_after(stored))))

    async def _write(self, domain: str, stored: Stored) -> None:
        self._remember(domain, stored)
        try:
            await self._run_in_thread(self._store.write, domain, stored)
        except OSError as error:  # a full disk: it is in memory, and mail goes by it
            self._note("sts-failed", {"domain": domain, "result": "not stored", "reason": str(error)})

    # Refreshing

    async def _sweep(self) -> None:
        """Look through what is stored: drop what has ended, ask the domains that are due, one after the other."""
        domains: list[str] = await self._run_in_thread(lambda: list(self._store.domains()))
        for domain in domains:
            if self._stopped:
                return
            stored: Stored | None = await self._run_in_thread(self._store.read, domain)
            if stored is None:
                continue
            now = self._clock.seconds()
            if _ends(stored) <= now:
                await self._run_in_thread(self._store.remove, domain)
            elif self._is_due(stored) and now < stored.used + UNUSED_AFTER:
                await _shielded(self._begin(domain, used=False))


def _ends(stored: Stored) -> float:
    """When it is no longer applied."""
    return stored.fetched + max(stored.policy.max_age, SHORTEST_LIFE)


def _check_after(stored: Stored) -> float:
    """Seconds after a look at the domain until the next one is due: some hours, or half of a short life."""
    return min(CHECK_EVERY, max(stored.policy.max_age / 2, BACK_OFF))


def _is_old(stored: Stored, now: float) -> bool:
    """Whether it is fetched again though its id is the same: daily, and at half of a shorter life."""
    return now >= stored.fetched + min(FETCH_EVERY, stored.policy.max_age / 2)


def _shielded(other: Deferred[None]) -> Deferred[None]:
    """Fires when `other` has; to cancel it does not cancel the other."""
    fired: Deferred[None] = Deferred()

    def done(result: None) -> None:
        if not fired.called:
            fired.callback(None)
        return result

    other.addBoth(done)
    return fired

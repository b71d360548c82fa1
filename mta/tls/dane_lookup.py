"""
Find the TLSA records of a mail host (RFC 7672 2.2).

Owns: which names are asked, in which order, and whether DANE applies to a host at all.
Never: compares a certificate (`mta/tls/dane.py`); connects.
Fails: never. Trouble of the DNS is a `Deferral`: the host must not be used without its records (RFC 7672 2.1.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred, gatherResults

from mta.address import is_ip_address
from mta.interfaces import IResolver
from mta.lookup import Answer, Status
from mta.outcome import Deferral, Phase, Scope
from mta.tls.tlsa import counting, read_tlsa
from mta.tls_policy import Tlsa


@dataclass(frozen=True, slots=True)
class DaneRecords:
    """
    The TLSA records of a host: from now on nothing goes to it but over TLS.

    `base` is the TLSA base domain, which is the name for SNI (RFC 7672 8.1). `names` are those that a certificate may
    have where names count (RFC 7672 3.2.2), the base domain first.
    """

    base: str
    records: tuple[Tlsa, ...]
    names: tuple[str, ...]

    @property
    def authenticates(self) -> bool:
        """Whether a record is usable; else encryption is all that is demanded (RFC 7672 2.2)."""
        return bool(counting(self.records))


Found = DaneRecords | Deferral | None


class DaneLookup:
    """
    Asks `resolver`, whose word that an answer is secure is believed.

    Each lookup fires with the records of the host, with None where DANE does not apply to it, or with a `Deferral`.
    """

    def __init__(self, resolver: IResolver) -> None:
        self._resolver = resolver

    def for_domain(self, domain: str, host: str, port: int = 25) -> Deferred[Found]:
        """
        For a mail host of `domain`: whether the MX records are secure is asked (and mostly remembered by the resolver).

        A certificate may be for the domain as well, or for what the domain is an alias of (RFC 7672 3.2.2).
        """
        return Deferred.fromCoroutine(self._for_domain(domain, host, port))

    def for_host(self, host: str, port: int, mx_secure: bool, names: Sequence[str] = ()) -> Deferred[Found]:
        """
        For a host that is known already. `mx_secure`: the records that led there were secure, or it is the operator who
        named it. `names` are those that a certificate may have besides the base domain.
        """
        return Deferred.fromCoroutine(self._for_host(host, port, mx_secure, names))

    def names(self, domain: str) -> Deferred[tuple[str, ...] | Deferral]:
        """
        The names that the MX records of `domain` vouch for: itself, and what it is an alias of; () where they are
        insecure, so that DANE applies to none of its hosts. For `for_host`.
        """
        return Deferred.fromCoroutine(self._names(domain))

    async def _names(self, domain: str, host: str | None = None) -> tuple[str, ...] | Deferral:
        mx = await self._resolver.lookup(domain, "MX")
        if mx.status is Status.COULD_NOT_ASK:
            return _deferral(domain, "MX", host, mx)
        if not mx.secure:
            return ()
        # Without MX records the domain is its own host (RFC 7672 2.2.2), and that there are none is as secure.
        return (domain, mx.canonical) if mx.canonical else (domain,)

    async def _for_domain(self, domain: str, host: str, port: int) -> Found:
        names = await self._names(domain, host)
        return names if isinstance(names, Deferral) else await self._for_host(host, port, bool(names), names)

    async def _for_host(self, host: str, port: int, mx_secure: bool, names: Sequence[str]) -> Found:
        # RFC 7672 2.2.1: who can forge the MX record needs no forged certificate. 2.2: an address has no records.
        if not mx_secure or is_ip_address(host):
            return None
        candidates = await self._base_domains(host)
        if isinstance(candidates, Deferral):
            return candidates
        for base in candidates:
            name = f"_{port}._tcp.{base}"
            answer = await self._resolver.lookup(name, "TLSA")
            if answer.status is Status.COULD_NOT_ASK:
                return _deferral(name, "TLSA", host, answer)
            records = tuple(read_tlsa(rdata) for rdata in answer.records if isinstance(rdata, bytes))
            # An alias of the TLSA name itself does not change the base domain (RFC 7672 2.2.3).
            if answer.secure and records:
                return DaneRecords(base, records, tuple(dict.fromkeys((base, *names))))
        return None

    async def _base_domains(self, host: str) -> tuple[str, ...] | Deferral:
        """
        Where TLSA records may stand, in the order of trying.

        RFC 7672 2.2.2: the addresses come first. Name servers of unsigned zones that answer TLSA questions with
        SERVFAIL are common, and so these are asked in signed ones alone.
        """
        asked = [self._resolver.lookup(host, kind) for kind in ("A", "AAAA")]
        answers = await gatherResults(asked, consumeErrors=True)
        found = [answer for answer in answers if answer.status is Status.ANSWER and answer.records]
        if not found:
            for answer in answers:
                if answer.status is Status.COULD_NOT_ASK:
                    return _deferral(host, "addresses", host, answer)
            return ()  # nothing can be connected to, which the attempt will find
        alias = found[0].canonical
        if all(answer.secure for answer in found):
            return (alias, host) if alias else (host,)
        if not alias:
            return ()
        # RFC 7672 2.1.3, 2.2.2: an alias into an unsigned zone. Its own zone may be signed, and have the records.
        itself = await self._resolver.lookup(host, "CNAME")
        if itself.status is Status.COULD_NOT_ASK:
            return _deferral(host, "CNAME", host, itself)
        return (host,) if itself.secure else ()


def _deferral(name: str, kind: str, host: str | None, answer: Answer) -> Deferral:
    """RFC 7672 2.1.2: a host whose records can't be had is one that can't be reached: the next one, or later."""
    reason = f"cannot look up {kind} of {name} for DANE: {answer.reason or 'no answer'}"
    return Deferral(reason, Phase.DNS, Scope.OURSELVES, host, enhanced="4.4.3")

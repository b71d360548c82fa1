"""
Choose the mail hosts of a domain from the answers of the DNS.

Owns: RFC 5321 5.1 (preference, implicit MX, the cut at ourselves), RFC 7505 (null MX), address literals.
Never: asks the DNS, orders hosts of equal preference (that is chance, drawn at each attempt), resolves a host's name.
Fails: never; trouble is a `Deferral` or a `Failure`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from mta.address import AddressError, is_ip_address, parse_domain
from mta.destination import Host
from mta.lookup import MX, Answer, Status
from mta.outcome import Deferral, Failure, Phase, Scope

# An answer by TCP may carry thousands of records, and each would cost us a lookup. Postfix keeps 100 as well.
MAX_HOSTS = 100


def literal_hosts(domain: str) -> tuple[Host, ...] | None:
    """
    The one host of an address literal such as ``[192.0.2.1]``; None for a domain name.

    RFC 5321 4.1.3: it stands in for a name that the DNS does not know, so the DNS is not asked.
    """
    if not domain.startswith("["):
        return None
    return (Host(domain[1:-1].removeprefix("IPv6:")),)


def needs_addresses(mx: Answer) -> bool:
    """Whether the domain has no MX record, so that its own A and AAAA records decide (RFC 5321 5.1, implicit MX)."""
    return mx.status in (Status.ANSWER, Status.NODATA) and not any(isinstance(record, MX) for record in mx.records)


def hosts_from(
    domain: str, mx: Answer, addresses: Iterable[Answer], own_names: Container[str]
) -> tuple[Host, ...] | Deferral | Failure:
    """
    The mail hosts of `domain`, lowest preference first, by name inside a preference; at most 100.

    `mx` answers the MX question. `addresses` answer A and AAAA of the domain itself, in any order; they are read only
    where `needs_addresses(mx)` holds. `own_names` are the lower-case names under which others know this machine.
    """
    if mx.status is Status.COULD_NOT_ASK:
        return _could_not_ask(domain, "MX", mx)
    if mx.status is Status.NXDOMAIN:
        return Failure(f"domain {domain} does not exist", Phase.DNS, enhanced="5.1.2")
    if needs_addresses(mx):
        return _implicit_host(domain, tuple(addresses), own_names)
    exchanges = [record for record in mx.records if isinstance(record, MX)]
    if all(record.exchange == "" for record in exchanges):
        # RFC 7505 4.1 gives the code. Beside other records a null MX means nothing (RFC 7505 3) and is dropped below.
        return Failure(f"domain {domain} does not accept mail (null MX, RFC 7505)", Phase.DNS, enhanced="5.1.10")
    return _before_ourselves(domain, _usable(exchanges), own_names)


def _could_not_ask(domain: str, kind: str, answer: Answer) -> Deferral:
    """The DNS kept silent: it says nothing about the domain, and RFC 5321 5.1 has the message wait."""
    reason = f"cannot look up {kind} of {domain}: {answer.reason or 'no answer'}"
    return Deferral(reason, Phase.DNS, Scope.OURSELVES, enhanced="4.4.3")


def _implicit_host(
    domain: str, addresses: tuple[Answer, ...], own_names: Container[str]
) -> tuple[Host, ...] | Deferral | Failure:
    """The domain as its own mail host, where it has an address."""
    if domain in own_names:
        return _loop(domain)
    if any(answer.status is Status.ANSWER and answer.records for answer in addresses):
        return (Host(domain),)
    for answer in addresses:
        if answer.status is Status.COULD_NOT_ASK:
            return _could_not_ask(domain, "addresses", answer)
    # The name exists but has neither MX nor address. Postfix bounces here; we wait, since half-made zones look the same
    # and only a confirmed NXDOMAIN or a null MX says that no mail is wanted.
    return Deferral(f"domain {domain} has no MX, A or AAAA record", Phase.DNS, enhanced="4.4.4")


def _usable(exchanges: list[MX]) -> list[Host]:
    """The hosts that can be connected to, each once with its best preference, best first."""
    best: dict[str, int] = {}
    for record in exchanges:
        name = record.exchange
        if _is_host_name(name):
            best[name] = min(record.preference, best.get(name, record.preference))
    return sorted((Host(name, 25, preference) for name, preference in best.items()), key=_rank)


def _rank(host: Host) -> tuple[int, str]:
    return host.preference, host.name


def _is_host_name(name: str) -> bool:
    """Whether an exchange is a domain name (RFC 1035 3.3.9); an IP address in its place is a common mistake."""
    try:
        parse_domain(name)
    except AddressError:
        return False
    return not (name.startswith("[") or is_ip_address(name))


def _before_ourselves(
    domain: str, hosts: list[Host], own_names: Container[str]
) -> tuple[Host, ...] | Deferral | Failure:
    """The hosts that are nearer to the mailbox than we are."""
    if not hosts:
        # RFC 5321 5.1: unusable MX records must not lead to the implicit MX. A typing error in a zone gets mended.
        return Deferral(f"no MX record of {domain} names a valid host", Phase.DNS, enhanced="4.4.4")
    ours = min((host.preference for host in hosts if host.name in own_names), default=None)
    if ours is not None:
        # RFC 5321 5.1: drop ourselves and all that are no better, or two backup hosts hand the message to and fro.
        hosts = [host for host in hosts if host.preference < ours]
    return tuple(hosts[:MAX_HOSTS]) if hosts else _loop(domain)


def _loop(domain: str) -> Failure:
    reason = f"mail for {domain} loops back to this host: the DNS sends it here, but it is not a domain of ours"
    return Failure(reason, Phase.DNS, enhanced="5.4.6")

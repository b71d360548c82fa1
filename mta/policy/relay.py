"""
Decide which recipients we take mail for, and from whom.

Owns: trusted networks, local users, domains that anyone may send to through us.
Never: routes, looks anything up, sees the sender: what a sender address claims gives no rights.
Fails: never for a recipient.

A stranger can reach a local user or a relay domain, and nothing else, in any spelling (DESIGN, invariant 10).
"""

from __future__ import annotations

from collections.abc import Iterable

from mta.address import Address
from mta.policy.clients import Networks
from mta.policy.verdict import Verdict
from mta.smtp import replies

_ROUTING_CHARACTERS = frozenset("@%!")

_TRUSTED = Verdict(None, "trusted client")
_LOCAL = Verdict(None, "local user")
_POSTMASTER = Verdict(None, "postmaster")
_RELAY_DOMAIN = Verdict(None, "relay domain")


class RelayPolicy:
    """
    The rules of one configuration; each answer depends on its arguments alone.

    `networks`: CIDRs of the clients that may send to anyone. `relay_domains`: "example.org", ".example.org" (each
    subdomain, not the domain), "*". `local_users`: "alice" (at each local domain), "alice@example.org", "*" (anyone);
    case does not matter. `hostname` is ours: postmaster lives there too (RFC 5321 4.5.1).
    """

    def __init__(
        self,
        *,
        networks: Iterable[str],
        relay_domains: Iterable[str],
        local_domains: Iterable[str],
        local_users: Iterable[str],
        hostname: str,
    ) -> None:
        self._networks = Networks(networks)
        self._relay_domains = frozenset(map(_canonical, relay_domains))
        self._local_domains = frozenset(map(_canonical, local_domains))
        self._local_users = frozenset(user.lower() for user in local_users)
        self._postmaster_domains = self._local_domains | {hostname.lower()}

    def is_trusted(self, ip: str) -> bool:
        """Whether a client at this address may send to anyone."""
        return self._networks.contains(ip)

    def recipient(self, address: Address, trusted: bool) -> Verdict:
        """Whether to take mail for `address`, from a client that is `trusted` or not."""
        local = address.local.lower()
        if local == "postmaster" and address.domain in self._postmaster_domains:
            return _POSTMASTER
        if address.domain in self._local_domains:
            return self._local_recipient(address, local, trusted)
        if trusted:
            return _TRUSTED
        # "user%far@relay.example" and its kin ask the next host, which trusts us, to relay on: for strangers we do not
        # hand that over (as Postfix with allow_untrusted_routing = no).
        if self._is_relay_domain(address.domain) and not _is_routed(address.local):
            return _RELAY_DOMAIN
        # RFC 5321 3.6.2: 550 for what we decline to relay; Postfix says 554 here, from before that sentence.
        return Verdict(replies.RELAY_DENIED.fill(recipient=str(address)), "neither a relay domain nor a trusted client")

    def _local_recipient(self, address: Address, local: str, trusted: bool) -> Verdict:
        users = self._local_users
        if local in users or f"{local}@{address.domain}" in users:
            return _LOCAL
        # "Anyone" does not mean a route in disguise: a [[route]] may hand local mail to a host that would follow it.
        if "*" in users and (trusted or not _is_routed(address.local)):
            return _LOCAL
        return Verdict(replies.NO_SUCH_USER.fill(recipient=str(address)), "unknown local user")

    def _is_relay_domain(self, domain: str) -> bool:
        patterns = self._relay_domains
        if domain in patterns or "*" in patterns:
            return True
        dot = domain.find(".")
        while dot >= 0:
            if domain[dot:] in patterns:
                return True
            dot = domain.find(".", dot + 1)
        return False


def _is_routed(local: str) -> bool:
    """Whether a local part could be read as a way to another host (RFC 5321 4.1.2 leaves that to the receiver)."""
    return not _ROUTING_CHARACTERS.isdisjoint(local)


def _canonical(domain: str) -> str:
    """A domain or pattern as `Address.domain` has it: an address literal keeps the case of its tag."""
    return domain if domain.startswith("[") else domain.lower()

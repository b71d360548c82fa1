"""
Decide which recipients we take mail for, and from whom.

Owns: trusted and refused networks, domains that anyone may send to through us, what is said of local recipients.
Never: routes, looks anything up, sees the sender: what a sender address claims gives no rights.
Fails: never for a recipient.

A stranger can reach a local user, a relay domain and whom an alias or a move of ours names, and nothing else, in any
spelling (DESIGN, invariant 10).
"""

from __future__ import annotations

from collections.abc import Iterable

from mta.address import Address
from mta.policy.clients import Networks
from mta.policy.directory import (
    ANYONE,
    POSTMASTER,
    USER,
    Alias,
    Directory,
    Local,
    Moved,
    NotLocal,
    Resolved,
    canonical_domain,
)
from mta.policy.verdict import Verdict
from mta.smtp import message_replies

_ROUTING_CHARACTERS = frozenset("@%!")

_TRUSTED = Verdict(None, "trusted client")
_LOCAL = {local.rule: Verdict(None, local.rule) for local in (USER, POSTMASTER, ANYONE)}
_RELAY_DOMAIN = Verdict(None, "relay domain")


class RelayPolicy:
    """
    The rules of one configuration; each answer depends on its arguments alone.

    `directory` knows the local users. `networks`: CIDRs of the clients that may send to anyone; `refused`: of those
    that may not even begin. `relay_domains`: "example.org", ".example.org" (each subdomain, not the domain), "*".
    """

    def __init__(
        self,
        directory: Directory,
        *,
        networks: Iterable[str],
        relay_domains: Iterable[str],
        refused: Iterable[str] = (),
    ) -> None:
        self.directory = directory
        self._networks = Networks(networks)
        self._refused = Networks(refused)
        self._relay_domains = frozenset(map(canonical_domain, relay_domains))

    def is_trusted(self, ip: str) -> bool:
        """Whether a client at this address may send to anyone."""
        return self._networks.contains(ip)

    def is_refused(self, ip: str) -> bool:
        """Whether a client at this address is greeted with 554 (RFC 5321 3.1)."""
        return self._refused.contains(ip)

    def recipient(self, address: Address, trusted: bool) -> Verdict:
        """Whether to take mail for `address`, from a client that is `trusted` or not, and for whom in its place."""
        return self.judged(address, trusted, self.directory.resolve(address))

    def judged(
        self, address: Address, trusted: bool, resolved: Resolved, recipients: tuple[Address, ...] | None = None
    ) -> Verdict:
        """
        The verdict on an address that stands for `resolved`.

        `recipients` are whom mail for a user who moved goes to, or the mailbox of a user whose address has an
        extension; None where the directory knows them.
        """
        if isinstance(resolved, NotLocal):
            return self._elsewhere(address, trusted)
        if isinstance(resolved, Local):
            # "Anyone" does not mean a route in disguise: a [[route]] may hand local mail to a host that would follow
            # it. Users and aliases are listed by name, and mean what they say.
            if resolved is ANYONE and not trusted and _is_routed(address.local):
                return no_such_user(address)
            return Verdict(None, resolved.rule, recipients) if recipients else _LOCAL[resolved.rule]
        if isinstance(resolved, Alias) and resolved.targets:
            return Verdict(None, f'alias "{resolved.name}"', resolved.targets, len(resolved.targets) > 1)
        if isinstance(resolved, Moved):
            return self._moved(address, resolved, recipients)
        return no_such_user(address)

    def _moved(self, address: Address, moved: Moved, recipients: tuple[Address, ...] | None) -> Verdict:
        """RFC 5321 3.4: 251 and we forward, or 551 and the sender knows where to."""
        words = {"recipient": str(address), "new": str(moved.new)}
        if not moved.forwards:
            return Verdict(message_replies.MOVED.fill(**words), "moved user")
        if recipients is None:
            recipients = self.directory.members(moved.new)
        return Verdict(message_replies.MOVED_FORWARDED.fill(**words), "moved user", recipients, len(recipients) > 1)

    def _elsewhere(self, address: Address, trusted: bool) -> Verdict:
        if trusted:
            return _TRUSTED
        # "user%far@relay.example" and its kin ask the next host, which trusts us, to relay on: for strangers we do not
        # hand that over (as Postfix with allow_untrusted_routing = no).
        if self.is_relay_domain(address.domain) and not _is_routed(address.local):
            return _RELAY_DOMAIN
        # RFC 5321 3.6.2: 550 for what we decline to relay; Postfix says 554 here, from before that sentence.
        return Verdict(
            message_replies.RELAY_DENIED.fill(recipient=str(address)), "neither a relay domain nor a trusted client"
        )

    def is_relay_domain(self, domain: str) -> bool:
        """Whether anyone may send to recipients at this domain."""
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
    """Whether a local part could be read as a way to another host (RFC 5321 2.3.11 leaves that to the receiver)."""
    return not _ROUTING_CHARACTERS.isdisjoint(local)


def no_such_user(address: Address) -> Verdict:
    """550: nobody here has this address."""
    return Verdict(message_replies.NO_SUCH_USER.fill(recipient=str(address)), "unknown local user")

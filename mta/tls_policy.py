"""
What a message demands of the connection that it goes over.

Owns: the levels of TLS, who demanded one, and when a connection made for one policy may carry mail of another.
Never: decides a policy (`mta/routing/tls_policies.py`, `mta/tls/policies.py`), looks at a certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class TlsLevel(Enum):
    """How much TLS; the value is the word of the configuration."""

    NONE = "none"  # in clear, whatever is offered
    MAY = "may"  # where it is offered, with any certificate; else in clear (RFC 7435)
    ENCRYPT = "encrypt"  # with any certificate, never in clear
    VERIFY = "verify"  # with a certificate that a trusted authority issued for the right name
    DANE = "dane"  # with a certificate or key that the DNS names (RFC 7672)


class TlsSource(Enum):
    """Where a policy comes from."""

    ROUTE = "route"
    DOMAIN = "domain"
    MTA_STS = "mta-sts"
    DANE = "dane"
    REQUIRETLS = "requiretls"
    DEFAULT = "default"


_TOLD = 16  # octets of a record's data in a log line: enough to find it


@dataclass(frozen=True, slots=True)
class Tlsa:
    """A TLSA record (RFC 6698 2.1): certificate usage, selector, matching type, and the data to match."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        more = "..." if len(self.data) > _TOLD else ""
        return f"{self.usage} {self.selector} {self.matching} {self.data[:_TOLD].hex()}{more}"


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """
    What one recipient domain's mail demands at one next hop.

    `names` are those that a certificate may bear, () for the host's own alone; with DANE those besides the base domain
    (RFC 7672 3.2.2). `hosts` are the mail hosts that may be connected to, as an MTA-STS policy lists them
    ("mx.example.org", "*.example.org"; RFC 8461 4.1), () for any.

    `tested` are the hosts that an MTA-STS policy in mode "testing" lists: what does not satisfy it is reported (RFC
    8460), and keeps no mail back.

    `dane` is not () where each host's TLSA records are still to be asked for: what leads to the hosts is secure, and
    these names are led from. `tlsa` are the records of a host and `base` their TLSA base domain: known where
    `ITlsPolicies.at_host` has found some, else None and "".

    `requiretls`: the sender requires all of it, and that the host offers REQUIRETLS (RFC 8689 4.2.1). `otherwise` is
    then what a report falls back to where no host does (5): it would be lost.
    """

    level: TlsLevel = TlsLevel.MAY
    source: TlsSource = TlsSource.DEFAULT
    names: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] | None = None
    base: str = ""
    dane: tuple[str, ...] = ()
    requiretls: bool = False
    otherwise: TlsPolicy | None = None
    tested: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """
        Who wants how much, for people: "domain: verify", and "dane" for what is called the same; "requiretls, mta-sts:
        verify" where a sender requires what the domain can prove.
        """
        source, level = self.source.value, self.level.value
        words = source if source == level else f"{source}: {level}"
        return f"requiretls, {words}" if self.requiretls and self.source is not TlsSource.REQUIRETLS else words

    @property
    def demands_tls(self) -> bool:
        """Whether nothing may go in clear."""
        return self.level not in (TlsLevel.NONE, TlsLevel.MAY)

    def allows_host(self, name: str) -> bool:
        """Whether a mail host may be connected to. A wildcard stands for the leftmost label alone (RFC 8461 4.1)."""
        return not self.hosts or _is_among(name, self.hosts)

    def lists_host(self, name: str) -> bool:
        """The same for a policy that is only tested."""
        return not self.tested or _is_among(name, self.tested)

    def is_met_by(self, made_for: TlsPolicy, *, encrypted: bool) -> bool:
        """
        Whether a connection that was made for another policy may carry mail of this one.

        What was proved of a certificate was proved for that policy's names and records: from there on only an equal
        policy can rely on it, and so it is where TLSA records may demand more than the level does, or where a policy is
        tested. A connection in clear is no answer to `may` where nobody asked for TLS.
        """
        if self == made_for:
            return True
        if self.dane or self.requiretls or self.tested:
            return False
        if self.level is TlsLevel.NONE:
            return True
        if self.level is TlsLevel.MAY:
            return encrypted or made_for.level is TlsLevel.MAY
        return self.level is TlsLevel.ENCRYPT and encrypted


def _is_among(name: str, patterns: tuple[str, ...]) -> bool:
    wanted = name.lower().removesuffix(".")
    above = wanted.partition(".")[2]
    return any(host == wanted or (above != "" and host == f"*.{above}") for host in patterns)


DEFAULT_POLICY = TlsPolicy()
NO_TLS = TlsPolicy(TlsLevel.NONE)

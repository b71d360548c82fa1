"""
What the sessions of one listener share.

Owns: the gathering of it, and what follows from the peer's address.
Never: changes while sessions use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mta.address import Address
from mta.destination import Destination
from mta.ids import spell
from mta.interfaces import IAuthentication, IQueue, IServerTls, ISpool
from mta.message.completion import Completion
from mta.outcome import Deferral, Failure
from mta.policy.clients import Networks
from mta.policy.directory import Meaning
from mta.policy.limits import Connections, ServerLimits
from mta.policy.submitters import NO_LIMITS, Submitters
from mta.policy.verdict import Verdict
from mta.smtp.terms import Terms
from mta.table import CouldNotAsk

Log = Callable[[str, Mapping[str, str]], None]
Located = Destination | Deferral | Failure
Locate = Callable[[Address], "Located | Deferred[Located]"]

# Strangers come to listeners of this role alone: only there a wait before the greeting sorts out anybody.
_PUBLIC_ROLE = "mx"


class Names(Protocol):
    """Who lives here, for VRFY and EXPN: `mta.policy.directory.Directory`, or one that answers later."""

    def meaning(self, text: str, /) -> Meaning | CouldNotAsk | Deferred[Meaning | CouldNotAsk]: ...
    def expand(
        self, text: str, /
    ) -> tuple[Address, ...] | CouldNotAsk | Deferred[tuple[Address, ...] | CouldNotAsk | None] | None: ...


class Policy(Protocol):
    """
    What decides on clients and recipients: `mta.policy.relay.RelayPolicy`, or what a program puts in its place.

    It may answer later on a recipient, within `limits.policy_timeout`.
    """

    @property
    def directory(self) -> Names: ...

    def is_trusted(self, ip: str, /) -> bool: ...
    def is_refused(self, ip: str, /) -> bool: ...
    def recipient(self, address: Address, trusted: bool, /) -> Verdict | Deferred[Verdict]: ...


@dataclass(frozen=True, slots=True)
class Listener:
    """
    `role` and `bare_newlines` as in the configuration; `storage_room` says whether the disk has room for a message.

    `reports_room` says whether a sender may get one more report now, in seconds. `connections` is shared with the other
    listeners. `etrn_domains` are those that ETRN is done for. `locate` tells where a recipient's mail goes, as
    `mta.interfaces.IDestinations` does; None accepts domains unasked. `log` takes a kind and fields, one line for each
    call. `tls` None: there is none; `implicit_tls`: it begins with the connection, and not with STARTTLS;
    `handshake_timeout` is in seconds. `authentication` knows who may log in, None: nobody; `auth_in_clear`: without
    TLS, too. `submitters` holds what they may do, `hide_submitter` says whether a Received field tells where they are.
    `xclient` are the clients that may say whose session it is, None for nobody.
    `requiretls`: senders may require TLS from here on, where there is TLS (RFC 8689).
    """

    hostname: str
    name: str
    role: str
    policy: Policy
    limits: ServerLimits
    connections: Connections
    spool: ISpool
    queue: IQueue
    storage_room: Callable[[], bool]
    clock: IReactorTime
    bare_newlines: str
    normalize_networks: Networks
    log: Log
    reports_room: Callable[[Address, float], bool]
    etrn_domains: frozenset[str] = frozenset()
    locate: Locate | None = None
    tls: IServerTls | None = None
    implicit_tls: bool = False
    handshake_timeout: float = 120.0
    authentication: IAuthentication | None = None
    auth_in_clear: bool = False
    submitters: Submitters = field(default_factory=lambda: Submitters(NO_LIMITS, frozenset()))
    hide_submitter: bool = False
    xclient: Networks | None = None
    requiretls: bool = False
    terms: Terms = field(init=False)

    def __post_init__(self) -> None:
        limits = self.limits
        terms = Terms(
            hostname=self.hostname,
            message_size=limits.message_size,
            text_line=limits.text_line,
            hops=limits.hops,
            recipients=limits.recipients,
            expanded_recipients=limits.expanded_recipients,
            messages_per_session=limits.messages_per_session,
            errors_soft=limits.errors_soft,
            errors_hard=limits.errors_hard,
            junk_commands=limits.junk_commands,
            lmtp=self.role == "lmtp",
            etrn=bool(self.etrn_domains) and self.role not in ("lmtp", "submission"),  # RFC 6409 7
            requiretls=self.requiretls and self.tls is not None,
            closed=self.role == "closed",
            starttls=self.tls is not None and not self.implicit_tls and self.role != "closed",
            mechanisms=() if self.authentication is None else tuple(self.authentication.mechanisms),
            auth_in_clear=self.auth_in_clear,
            xclient=self.xclient is not None,
        )
        object.__setattr__(self, "terms", terms)

    def normalizes(self, ip: str) -> bool:
        """Whether bare CR and LF from this client become CRLF instead of being refused."""
        return self.bare_newlines == "normalize" or self.normalize_networks.contains(ip)

    def greet_wait(self, trusted: bool) -> float:
        """Seconds to listen for a peer that speaks too early, before it is greeted."""
        return 0.0 if trusted or self.role != _PUBLIC_ROLE else self.limits.greet_wait

    def completion(self, sender: Address | None, queue_id: int, now: float) -> Completion | None:
        """What completes the header of a message from a mail program (RFC 6409 8); None where none may be touched."""
        if self.role != "submission":
            return None
        return Completion(sender=sender, full_name="", hostname=self.hostname, identity=spell(queue_id), at=now)

"""
The contracts between the rooms: siblings of layer 3 know each other by these alone.

Each has a set of contract tests (`tests/contracts/`) that every implementation and every fake passes.
"""

# mypy: disable-error-code="empty-body, misc"
# (the methods of an Interface have no `self` and no body)

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from OpenSSL.SSL import Connection
    from twisted.internet.defer import Deferred

    from mta.address import Address
    from mta.destination import Destination, Host, NextHop, Route
    from mta.encryption import Encryption
    from mta.entry import Delivery, Entry, Report
    from mta.envelope import Envelope, Origin, RequireTls
    from mta.history import History
    from mta.identity import Step
    from mta.lookup import Answer
    from mta.order import Done, Order
    from mta.outcome import Deferral, Failure, Outcome
    from mta.selection import Selection
    from mta.sts_policy import StsPolicy
    from mta.table import Found
    from mta.tls_policy import TlsPolicy
    from mta.tls_report import Finding, Session
    from mta.web import WebAnswer, WebRequest

    Changed = list[tuple[int, str]]


class IServerTls(Interface):
    """TLS, as a listener speaks it."""

    def connection(peer_closed: Callable[[], None]) -> Connection | None:
        """The server's end of a new TLS connection, without a socket; None where no certificate can be used.

        `peer_closed` is called when the peer has said that it will send nothing more (close_notify); it may read on.
        """

    def outcome(connection: Connection) -> Encryption:
        """What the handshake of such a connection, which is over, came to."""


class IContent(Interface):
    """The content of a message as it stands in the spool: lines end in CRLF, no dot-stuffing."""

    size: int = Attribute("Octets in all.")

    def whole() -> bytes | None:
        """All of it where it is small and at hand, without waiting; else None, and `chunk` has it."""

    def chunk(index: int) -> Deferred[bytes]:
        """The bytes of chunk `index` (from 0, at most 256 KiB each), b"" behind the last one.

        Fails with `mta.spool.SpoolError` where the chunk can't be read.
        """


class IReceiving(Interface):
    """One message on its way into the spool; nothing of it is visible before `commit` has succeeded."""

    size: int = Attribute("Octets written so far.")

    def write(data: bytes) -> Deferred[None] | None:
        """Take the next bytes of content.

        Returns None, or a Deferred when too much waits for the disk: write no more until it fires (it fires with None,
        also after a fault: `commit` reports it).
        """

    def commit(envelope: Envelope, origin: Origin, now: float, claim: bool) -> Deferred[Entry]:
        """Make it durable, in one transaction with its `accepted` event.

        `now` is seconds since 1970; `claim` True claims it for this worker. The `Entry` has `content` filled where the
        message is small; the Deferred fires only after the fsync. It fails with `SpoolError`: then nothing is stored.
        """

    def abort() -> None:
        """Forget it. Harmless after `commit` and when called twice."""


class ISpool(Interface):
    """
    The durable queue. Every Deferred fires after the transaction is on disk.

    All fail with `mta.spool.SpoolError` (full, unreadable, closed): the caller answers 451 or tries later.
    """

    largest_id: int = Attribute("The largest queue id ever used here when it was opened, 0 for none.")

    def receive(message: int) -> IReceiving:
        """Begin a new message with queue id `message`."""

    def receive_again(message: int, history: History) -> IReceiving:
        """Begin a message that comes from another queue, with the past that it has.

        Its `commit` takes the envelope of the history, and no claim; it fails with `mta.spool.errors.AlreadyHereError`
        where the message of that archive is here, or was.
        """

    def content(entry: Entry) -> IContent:
        """The content of a claimed message."""

    def claim(now: float, limit: int) -> Deferred[list[Entry]]:
        """Claim up to `limit` messages with a recipient due at `now`, earliest first, with their due recipients.

        A row that can't be read is put into quarantine with the reason instead.
        """

    def next_due() -> Deferred[float | None]:
        """The time (seconds since 1970) the next unclaimed message is due, or None."""

    def wake(site: str, now: float, limit: int) -> Deferred[int]:
        """Make up to `limit` messages due at `now` that wait for `site` (`Report.waits_for`); how many it were."""

    def mark(message: int, addresses: Sequence[Address], host: str) -> Deferred[None]:
        """Note that `host` may have the whole message for these recipients from now on.

        The next record of each takes the mark away. What is found marked when claims are taken over is in doubt.
        """

    def record(report: Report) -> Deferred[float | None]:
        """Write a `Report`; a message whose recipients are all finished is removed, its events stay.

        Fires with the time (seconds since 1970) at which something of it is due for whoever claims it: the bounce, or
        the message once its claim is given back, other recipients of it included. None where nothing is.

        What happened is a fact: a recipient that an operator held or discarded during the attempt is finished all the
        same when it was delivered or refused; where it was deferred, the operator's word counts.
        """

    def crashed(message: int, reason: str, now: float, due: float) -> Deferred[float | None]:
        """Count an exception of ours; release the claim until `due`, or quarantine the message at the third.

        Fires with the time at which something of the message is due, None where nothing is.
        """

    def hold(selection: Selection, by: str, now: float) -> Deferred[Changed]:
        """Hold the queued recipients that `selection` matches; which (message, address text) pairs changed."""

    def unhold(selection: Selection, by: str, now: float) -> Deferred[Changed]:
        """Release held recipients, due at once."""

    def retry(selection: Selection, by: str, now: float) -> Deferred[Changed]:
        """Make queued recipients due at once."""

    def discard(selection: Selection, by: str, now: float) -> Deferred[Changed]:
        """Drop queued, held and quarantined recipients for good, with an event."""

    def prune(before: float) -> Deferred[int]:
        """
        Forget the events of finished messages older than `before` (seconds since 1970), and give room that is not
        needed any more back to the disk; how many events were forgotten.
        """

    def close() -> Deferred[None]:
        """Finish what is under way, give back this worker's claims and close."""


class ISurgery(Interface):
    """
    What operators do to the queue, in operations that can be undone for a day.

    An operation goes on in small transactions. All fail with `mta.spool.SpoolError`: what is not done then is done at
    the next start.
    """

    def operate(order: Order, routes: Callable[[str], tuple[str, ...]] | None = None) -> Deferred[Done]:
        """Carry out an order; `routes` gives the names of a recipient's route, for a selection that asks for it.

        Fails with ValueError where it can't be carried out, with the reason for the operator.
        """

    def resume(routes: Callable[[str], tuple[str, ...]] | None = None) -> Deferred[list[Done]]:
        """Go on with what was left in the middle."""

    def add_rule(selection: Selection, by: str, at: float) -> Deferred[int]:
        """Hold mail that `selection` matches as it comes; fires with the number of the rule, which holds here then.

        Other processes have it once they `load_rules`.
        """

    def remove_rule(number: int) -> Deferred[bool]:
        """Take a rule back; fires with whether there was one."""

    def load_rules() -> Deferred[None]:
        """Follow the rules as they stand in the spool, which another process has changed."""

    def expire(before: float) -> Deferred[None]:
        """Forget the operations older than `before` (seconds since 1970), and what they discarded."""


class IResolver(Interface):
    """Asks the DNS."""

    def lookup(name: str, kind: str) -> Deferred[Answer]:
        """Ask for `name` and record type `kind` ("MX", "A", "AAAA", "CNAME", "TXT", "PTR", "TLSA").

        It never fails: trouble is `Status.COULD_NOT_ASK` with a reason.
        """


class IDeliveryAgent(Interface):
    """A way a message can leave."""

    def deliver(delivery: Delivery) -> Deferred[Mapping[Address, Outcome]]:
        """Try one transaction: one outcome for each recipient.

        It does not fail on trouble with the peer or the mailbox: that is an outcome. A failure is a bug, and the queue
        manager defers.
        """

    def stop() -> Deferred[None]:
        """Close idle connections at once; those in use close when their transaction ends."""


class IDestinations(Interface):
    """Turns a next hop into hosts."""

    def locate(
        next_hop: NextHop, domain: str
    ) -> Destination | Deferral | Failure | Deferred[Destination | Deferral | Failure]:
        """The destination for a recipient at `domain` whose route is `next_hop`.

        Or why there is none: null MX, no such domain, a loop (`Failure`), the DNS can't say (`Deferral`).
        """


class ITlsPolicies(Interface):
    """Says what a connection must offer before mail goes over it."""

    def policy(domain: str, route: Route) -> TlsPolicy | Deferral | Deferred[TlsPolicy | Deferral]:
        """What mail for recipients at `domain` demands of the hosts that `route` leads to.

        Asked at each attempt, before domains that share their hosts are put into one transaction; a `Deferral` where
        that can't be told now. What is known comes back at once, without a Deferred.
        """

    def wished(
        domain: str, route: Route, wish: RequireTls, *, is_report: bool
    ) -> TlsPolicy | Deferral | Deferred[TlsPolicy | Deferral]:
        """As `policy`, for a message whose sender has a word of its own on TLS (RFC 8689).

        `is_report`: it has the null reverse-path, and must not be lost where nobody can fulfil the wish (5).
        """

    def at_host(policy: TlsPolicy, host: Host) -> TlsPolicy | Deferral | Deferred[TlsPolicy | Deferral]:
        """The policy as it is for one host, which is about to be connected to.

        With the host's TLSA records and base domain, where the level calls for them; else the same policy. A
        `Deferral` where this host may not be used: the next one is tried.
        """


class IHandshake(Interface):
    """One TLS handshake with a server; it is an `IOpenSSLClientConnectionCreator`, as a transport's startTLS takes."""

    def trouble() -> str:
        """Once it is over: why the policy is not met, as a part of a sentence; "" where it is."""

    def words() -> str:
        """What was reached and who wanted it: "TLSv1.3 verified (domain: verify)"."""

    def finding() -> Finding:
        """The same as `trouble` for a report, and what is wrong under a policy that is only tested."""

    def binding() -> bytes | None:
        """What both ends of the connection know and nobody else does (tls-exporter, RFC 9266), where there is that."""


class IClientTls(Interface):
    """Makes handshakes with servers."""

    def handshake(policy: TlsPolicy, host: str) -> IHandshake:
        """The handshake with `host`, a name or an IP address, as `policy` wants it."""


class ITlsReports(Interface):
    """Counts sessions for reports on TLS (RFC 8460)."""

    def count(domains: Iterable[str], policy: TlsPolicy, session: Session) -> None:
        """What became of TLS in one session for mail to these domains, whose MX records led there.

        `policy` is what was demanded of the host. It costs no more than a moment, and never fails.
        """


class IStsPolicies(Interface):
    """Knows the MTA-STS policies of other domains (RFC 8461)."""

    def policy(domain: str) -> Deferred[StsPolicy | None]:
        """The policy that holds for mail to `domain` now, or None. It never fails.

        It fires at once where a policy is known; else it takes as long as a fetch, about a minute at most. What does
        not satisfy a policy in mode "testing" is only reported; mode "none" is as no policy.
        """

    def doubt(domain: str) -> str:
        """Why it is not known whether the domain has a policy, where `policy` has just found none; "" where it is."""


class IQueue(Interface):
    """What the server and the operator's commands need of the queue manager."""

    def new_id() -> int:
        """A queue id for a message that begins to arrive."""

    def wants_claim() -> bool:
        """Whether there is room in the active window for one more: what `IReceiving.commit` takes as `claim`."""

    def accepted(entry: Entry, claimed: bool) -> None:
        """A message was committed: deliver it now, or, where it was not claimed, when there is room."""

    def withdraw(pairs: Iterable[tuple[int, str]]) -> None:
        """The spool changed these (message, address text) pairs: drop those that wait in the window."""

    def due_changed() -> None:
        """Something in the spool is due earlier than thought: look again."""


class IConversation(Interface):
    """One exchange of AUTH, from the command to its end."""

    def start() -> Deferred[Step]:
        """The first challenge, for a client that sent no initial response."""

    def respond(data: bytes) -> Deferred[Step]:
        """What follows from the client's response. It does not fail."""


class IAuthentication(Interface):
    """Knows who may log in, and how."""

    mechanisms: tuple[str, ...] = Attribute("The names of the mechanisms (RFC 4422), best first.")

    def begin(mechanism: str, client: str, binding: bytes | None) -> IConversation:
        """Begin an exchange with one of `mechanisms`.

        `client` is its IP address, `binding` the channel binding of its TLS connection, if there is one.
        """


class ITokens(Interface):
    """Has access tokens (OAuth 2.0) for next hops, by the name of what fetches them."""

    def token(name: str) -> Deferred[str | Deferral]:
        """A token that is good now, or why there is none: our own trouble. It never fails."""

    def another(name: str, rejected: str) -> Deferred[str | Deferral | None]:
        """Another token, after the next hop rejected that one; None where there is no other. It never fails."""


class IWebClient(Interface):
    """Asks web servers, over HTTPS; in clear only where it was made for that."""

    def ask(request: WebRequest) -> Deferred[WebAnswer]:
        """Send the request, and give the whole answer, whatever its status is. Fails with `mta.web.WebError`.

        The certificate is verified, no redirect is followed, and no more is taken than the request says.
        """


class ITable(Interface):
    """Where something is looked up: a file, a database, a directory, a web server."""

    def lookup(key: str) -> Found | Deferred[Found]:
        """The value of a key, None where it has none, `CouldNotAsk` where that can't be told now.

        It never fails. What is at hand comes back at once, without a Deferred.
        """

    def close() -> None:
        """Give back connections; nothing is asked any more."""

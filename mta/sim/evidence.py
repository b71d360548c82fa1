"""
What a finished simulation left behind, put in order.

Owns: which events, rows, arrivals and mailbox files speak of the same message and recipient; when something of ours was
broken.
Never: judges it (`mta/sim/invariants.py`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from mta.address import Address, parse_address
from mta.delivery.mailbox import mailbox_path
from mta.events import TERMINAL, Event, Kind
from mta.ids import spell
from mta.policy.directory import Directory
from mta.sim.ledger import Arrival
from mta.sim.message import is_whole, own_token_of, queue_id_of
from mta.sim.network import LATENCY
from mta.sim.scenario import Behaviour, Site
from mta.sim.simulation import Result

Pair = tuple[int, str]  # a queue id and a recipient

# Times are compared with this tolerance: the database and JSON keep them as floating-point numbers.
TICK = 1e-6
# Seconds from the end of an attempt until it is on disk, and from a fault of the disk until it is tried again.
RECORDED_WITHIN = 1.0
_SPOOL_RETRY = 6.0


@dataclass(frozen=True, slots=True)
class Row:
    """A recipient as the database has it at the end."""

    state: str
    due: float
    attempts: int


@dataclass(slots=True)
class Message:
    """A message as the database has it at the end."""

    sender: str
    size: int
    due: float | None
    is_claimed: bool
    recipients: dict[str, Row] = field(default_factory=dict)
    content: bytes = b""


class Evidence:
    """
    The traces of one `Result`.

    `accepted` are the first events of messages by queue id; what was in the queue before the simulation has none.
    `story` has the events of one recipient in order, `arrivals` its arrivals at sites and in mailboxes.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        self.ledger = result.ledger
        self.config = result.config
        self.directory: Directory = result.config.directory()
        self.accepted: dict[int, Event] = {}
        self.of_message: dict[int, list[Event]] = defaultdict(list)
        self.story: dict[Pair, list[Event]] = defaultdict(list)
        self.ended: dict[Pair, Event] = {}
        for event in self.ledger.events:
            self.of_message[event.message].append(event)
            if event.kind is Kind.ACCEPTED:
                self.accepted[event.message] = event
            if event.recipient is not None:
                self.story[event.message, event.recipient].append(event)
                if event.kind in TERMINAL:
                    self.ended.setdefault((event.message, event.recipient), event)
        self.queued = _queued(result)
        self._files = _mailbox_files(result)
        self.arrivals: dict[Pair, list[Arrival]] = defaultdict(list)
        for arrival in self.ledger.arrivals:
            if arrival.message is not None:
                self.arrivals[arrival.message, arrival.recipient].append(arrival)
        for pair in list(self.story):
            self.arrivals[pair] += self._in_mailbox(*pair)
        self._sites = _sites_by_domain(result.scenario.sites)
        self._down = list(self._own_faults())

    # Of messages

    def sender(self, message: int) -> str:
        """The reverse-path of an accepted message, "" for the null one."""
        return str(self.accepted[message].detail.get("sender") or "")

    def recipients(self, address: str) -> list[str]:
        """Whom mail for this address that we took goes to: aliases are expanded."""
        try:
            return [str(member) for member in self.directory.members(parse_address(address, utf8=True))]
        except ValueError:
            return [address]

    def is_local(self, recipient: str) -> bool:
        """Whether it is delivered here."""
        return domain_of(recipient) in (*self.config.local.domains, self.config.hostname)

    # Of sites

    def site(self, recipient: str) -> Site | None:
        """The site of a recipient, where the scenario names it."""
        return self._sites.get(domain_of(recipient))

    def is_healthy(self, recipient: str) -> bool:
        """Whether mail for it can be delivered all the time."""
        domain = domain_of(recipient)
        if self.is_local(recipient):
            return True
        names = self.result.scenario.names
        if any(domain == each or domain.endswith(f".{each}") for each in names.failing):
            return False
        site = self.site(recipient)
        if site is not None:
            return not site.spells and is_healthy(site)
        return names.others == "up" and domain not in (*names.nxdomain, *names.null_mx)

    def patience(self, recipient: str) -> float:
        """How long an attempt may take that its site draws out, in seconds."""
        site = self.site(recipient)
        if site is None:
            return RECORDED_WITHIN
        behaviours: list[Behaviour] = [site, *site.spells]
        if all(is_healthy(each) or each.state == "refusing" for each in behaviours):
            return RECORDED_WITHIN
        return 3600.0

    # Of our own faults

    def _own_faults(self) -> Iterator[tuple[float, float]]:
        ledger, result = self.ledger, self.result
        restarts = iter([*ledger.restarts, *[result.end] * len(ledger.crashes)])
        for crash in ledger.crashes:
            yield crash, next(restarts)
        for fault in result.scenario.faults:
            if fault.kind != "crash":
                yield result.start + fault.begin, result.start + fault.end

    def was_broken(self, begin: float, end: float) -> bool:
        """Whether something of ours was broken between the two times, or a crash fell there."""
        return any(down <= end and begin <= up for down, up in self._down)

    def is_unfinished(self, recipient: str, at: float) -> bool:
        """Whether the simulation may have ended before what the program knew at `at` was written down."""
        end = self.result.end
        return at + self.patience(recipient) >= end or self.was_broken(end, end)

    def is_lost(self, recipient: str, at: float) -> bool:
        """
        Whether what the program knew at `at` of this recipient may be lost.

        It is where the program crashed, or the simulation ended, before the outcome was on disk.
        """
        until = at + self.patience(recipient)
        for fault in self.result.scenario.faults:
            begin, end = self.result.start + fault.begin, self.result.start + fault.end
            if fault.kind == "disk-full" and begin <= until and at <= end:
                until = max(until, end + _SPOOL_RETRY)
        # What was on its way when the program died arrives all the same.
        return until >= self.result.end or any(at - 2 * LATENCY <= crash <= until for crash in self.ledger.crashes)

    # Of mailboxes

    def _in_mailbox(self, message: int, recipient: str) -> list[Arrival]:
        address = _parsed(recipient)
        if address is None or not self.is_local(recipient):
            return []
        try:
            path = mailbox_path(self.config.local.maildir, address)
        except ValueError:
            return []
        at = self._stored_by(message, recipient)
        return [
            Arrival("mailbox", recipient, at, own_token_of(content), None, True, self._is_whole(content), message)
            for content in self._files.get((str(path), message), ())
        ]

    def _stored_by(self, message: int, recipient: str) -> float:
        """When a file that is there must have been stored: by its event, or else before a crash that forgot it."""
        end = self.ended.get((message, recipient))
        if end is not None and end.kind is Kind.DELIVERED:
            return end.at
        began = self.accepted[message].at if message in self.accepted else self.result.start
        return max((crash for crash in self.ledger.crashes if crash >= began), default=began)

    def _is_whole(self, content: bytes) -> bool:
        content = content.replace(b"\n", b"\r\n")  # a mailbox has the line ends of its host
        token = own_token_of(content)
        sent = self.ledger.sent.get(token) if token is not None else None
        return token is not None and sent is not None and is_whole(content, token, sent[2])


def is_healthy(behaviour: Behaviour) -> bool:
    """Whether a site that behaves like this takes all mail at once."""
    return (
        behaviour.state == "up"
        and not behaviour.answers
        and behaviour.stalls_at == "never"
        and behaviour.breaks_at == "never"
        and not (behaviour.drops_after_dot or behaviour.garbled or behaviour.reply_delay or behaviour.greylist)
        and not (behaviour.connections or behaviour.messages_per_minute)
    )


def domain_of(recipient: str) -> str:
    """The domain of an address as it stands in an event."""
    return recipient.rpartition("@")[2].lower()


def _parsed(recipient: str) -> Address | None:
    try:
        return parse_address(recipient, utf8=True)
    except ValueError:
        return None


def _sites_by_domain(sites: tuple[Site, ...]) -> dict[str, Site]:
    return {domain: site for site in sites for domain in site.domains}


def _queued(result: Result) -> dict[int, Message]:
    """What is in the queue at the end, by queue id."""
    database = result.database
    queued = {
        message: Message(sender, size, due, claim is not None)
        for message, sender, size, due, claim in database.execute("SELECT id, sender, size, due, claim FROM messages")
    }
    for message, address, state, due, attempts in database.execute(
        "SELECT message, address, state, due, attempts FROM recipients"
    ):
        queued[message].recipients[address] = Row(state, due, attempts)
    for message, data in database.execute(
        "SELECT message, data FROM chunks WHERE message IN (SELECT id FROM messages) ORDER BY message, number"
    ):
        queued[message].content += data
    return queued


def _mailbox_files(result: Result) -> dict[tuple[str, int], list[bytes]]:
    """The contents of the messages in Maildirs, by the Maildir and our queue id."""
    found: dict[tuple[str, int], list[bytes]] = defaultdict(list)
    for path in sorted(result.mail.glob("**/new/*")):
        content = path.read_bytes()
        message = queue_id_of(content)
        if message is not None:
            found[str(path.parent.parent.relative_to(result.mail)), message].append(content)
    return found


def events_on_disk(result: Result) -> set[tuple[int, float, str, str | None]]:
    """The event log as the database has it: message, time, kind, recipient."""
    rows = result.database.execute("SELECT message, at, kind, recipient FROM events WHERE at >= ?", (result.start,))
    return {tuple(row) for row in rows}


def detail(event: Event, name: str) -> str:
    """A field of an event's detail as text, "" where it is not there."""
    value = event.detail.get(name)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def name_of(message: int | None) -> str:
    """A queue id as people know it."""
    return "a message without an id" if message is None else spell(message)

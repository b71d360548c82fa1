"""
One message that a local user hands in over the control socket.

Owns: the words of a `send` request, and the way of its content into the spool, in the order that the server keeps:
trace field first, one commit, and only then the queue id to the user.
Never: reads the socket; decides who may relay (a local user may: the mode of the socket says who is one).
Fails: ValueError for bad words, `ContentError` for content that no mail may have, `SpoolError` from the spool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from mta.address import Address, AddressError, parse_address
from mta.entry import Entry
from mta.envelope import Body, Envelope, Origin, Recipient, RequireTls
from mta.ids import spell
from mta.interfaces import IReceiving
from mta.message.completion import Completion
from mta.message.headers import HopCounter
from mta.message.trace import received

# DEFAULTS 2: as many as the server takes in one transaction.
MAX_RECIPIENTS = 1000

_WORDS = frozenset(("sender", "recipients", "size", "full_name"))


class ContentError(Exception):
    """The content is refused; the text says why."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A checked `send` request: the content that follows it has exactly `size` octets."""

    sender: Address | None
    recipients: tuple[Address, ...]
    size: int
    full_name: str


def announced(words: Mapping[str, object], hostname: str, default_sender: str) -> Announcement:
    """
    The announcement that a request spells: `sender` ("" is the null reverse-path), `recipients`, `size`, `full_name`.

    An address without a domain gets `hostname`, as sendmail does it. Raises ValueError that names the bad word.
    """
    unknown = set(words) - _WORDS
    if unknown:
        raise ValueError(f"unknown word {', '.join(sorted(unknown))}")
    sender, full_name = words.get("sender", default_sender), words.get("full_name", "")
    if not isinstance(sender, str) or not isinstance(full_name, str):
        raise ValueError("sender and full_name must be text")
    recipients = words.get("recipients")
    if not isinstance(recipients, list) or not recipients:
        raise ValueError("recipients must be a list of addresses")
    if len(recipients) > MAX_RECIPIENTS:
        raise ValueError(f"more than {MAX_RECIPIENTS} recipients; send it in parts")
    # A dict: distinct, in the order they came.
    distinct = dict.fromkeys(_qualified(each, hostname) for each in recipients)
    return Announcement(
        _qualified(sender, hostname) if sender else None, tuple(distinct), announced_size(words), full_name
    )


def announced_size(words: Mapping[str, object]) -> int:
    """The octets that follow a `send` request, whatever else is wrong with it. Raises ValueError."""
    size = words.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError("size must be a number of octets")
    return size


def _qualified(text: object, hostname: str) -> Address:
    if not isinstance(text, str):
        raise ValueError("an address must be text")
    try:
        return parse_address(text if "@" in text else f"{text}@{hostname}")
    except AddressError as error:
        raise ValueError(f"{text!r}: {error}") from None


class Submission:
    """One message on its way into the spool."""

    may_be_claimed = True

    def __init__(
        self, announcement: Announcement, receiving: IReceiving, message: int, *, hostname: str, by: str, at: float
    ) -> None:
        self._announcement = announcement
        self._receiving = receiving
        self._by = by
        self._at = at
        identity = spell(message)
        self._completion = Completion(
            sender=announcement.sender, full_name=announcement.full_name, hostname=hostname, identity=identity, at=at
        )
        recipients = announcement.recipients
        self._field = received(
            helo=by,
            client_ip="",
            client_name=None,
            by=hostname,
            protocol="local",
            queue_id=identity,
            recipient=recipients[0] if len(recipients) == 1 else None,
            at=at,
        )
        self._header = HopCounter()
        self._eight_bit = False
        self._ended_in_cr = False

    def write(self, data: bytes) -> Deferred[None] | None:
        """Take the next bytes of content; a Deferred asks to wait, as in `IReceiving.write`. Raises `ContentError`."""
        if not data:
            return None
        # What is stored has lines that end in CRLF: a bare newline would reach the next hop as something else than it
        # was here (SMTP smuggling). One test for both: as many CR as LF as pairs, counting the pair that a border cuts.
        pairs = data.count(b"\r\n") + (self._ended_in_cr and data.startswith(b"\n"))
        returns = data.count(b"\r") + self._ended_in_cr
        self._ended_in_cr = data.endswith(b"\r")
        if not pairs == data.count(b"\n") == returns - self._ended_in_cr:
            raise ContentError("lines must end in CRLF: a bare CR or LF is in the message")
        self._eight_bit = self._eight_bit or not data.isascii()
        self._header.feed(data)
        ready = self._completion.feed(data)
        return self._store(ready) if ready else None

    def commit(self, claim: bool) -> Deferred[Entry]:
        """Store it; the Deferred fires once it is durable. Raises `ContentError` where a line end is cut in two."""
        if self._ended_in_cr:
            raise ContentError("lines must end in CRLF: the message ends in a bare CR")
        self._store(self._completion.finish())
        body = Body.EIGHT_BIT_MIME if self._eight_bit else Body.SEVEN_BIT
        announcement = self._announcement
        tls = RequireTls.NO if self._header.tls_not_required else None
        envelope = Envelope(announcement.sender, tuple(map(Recipient, announcement.recipients)), body, require_tls=tls)
        origin = Origin(client=self._by, listener="control", protocol="local")
        return self._receiving.commit(envelope, origin, self._at, claim)

    def abort(self) -> None:
        """Forget it."""
        self._receiving.abort()

    def _store(self, data: bytes) -> Deferred[None] | None:
        # RFC 5321 4.4: the trace field stands before all other fields.
        field, self._field = self._field, b""
        return self._receiving.write(field + data)

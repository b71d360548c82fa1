"""
DNS messages: write a query, read a response, and say what it means.

Owns: the use of `twisted.names.dns` as the codec, the checks that a response belongs to its query, the reading of
aliases (CNAME) and of negative answers (RFC 2308).
Never: sends, waits or remembers.
Fails: never; bytes that are no response to the query are None, and what a server says of its own trouble is `Refusal`.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from io import BytesIO

from twisted.names import dns

from mta.dns.question import MAX_NAME, Question, could_not_ask
from mta.lookup import MX, Answer, Record, Status

# DEFAULTS: a larger answer is cut there. Reading no more of it bounds the time that a hostile zone can take.
MAX_RECORDS = 100
# The codec reads a label with two calls and never asks how long a name gets: compressed, one of 30,000 labels can
# stand in each record (measured: 8 s of work). A hundred MX records with two names of ten labels each take 5,000.
MAX_READS = 20_000
# Unbound follows 11, BIND 16; a mail domain has one or two.
MAX_ALIASES = 10
# RFC 2181 8 allows a limit of our own on long TTLs. Resolvers allow a day or a week.
MAX_TTL = 86_400

# The EDNS payload size that fits into every path's MTU (DNS flag day 2020).
UDP_PAYLOAD = 1232

_TLSA = 52  # unknown to twisted.names; the records arrive as bytes, which is what we want
_NUMBERS = {
    "A": dns.A,
    "CNAME": dns.CNAME,
    "PTR": dns.PTR,
    "MX": dns.MX,
    "TXT": dns.TXT,
    "AAAA": dns.AAAA,
    "TLSA": _TLSA,
}
_HEADER = struct.Struct("!HBBHHHH")
# RFC 1035 4.1.1, by name: the words that an operator will search for.
_RCODES = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True, slots=True)
class Response:
    """
    What a response holds, as far as its question needs it.

    `aliases` map an owner to its CNAME target and TTL, `records` an owner to its records of the question's type with
    the TTL of each. `negative_ttl` is that of RFC 2308 5, None without an SOA record.
    """

    rcode: int
    truncated: bool = False
    secure: bool = False
    aliases: dict[str, tuple[str, int]] = field(default_factory=dict)
    records: dict[str, list[tuple[Record, int]]] = field(default_factory=dict)
    negative_ttl: int | None = None
    is_referral: bool = False


@dataclass(frozen=True, slots=True)
class Alias:
    """The answer stopped at a CNAME: `target` has to be asked for."""

    target: str
    ttl: int
    secure: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """This server can't say; another one may. `edns_trouble`: perhaps it only disliked EDNS (RFC 6891 7)."""

    reason: str
    edns_trouble: bool = False


class NameTooLongError(ValueError):
    """A name of more octets than there are (RFC 1035 2.3.4): the response is damaged, or meant to be."""


def query(question: Question, query_id: int, *, edns: bool = True) -> bytes:
    """
    The bytes of a query.

    Recursion is desired, and AD is set: that asks a validating resolver for its verdict (RFC 6840 5.7).
    """
    message = dns.Message(id=query_id, recDes=1, authenticData=1)
    message.queries = [dns.Query(question.name.encode("ascii"), _NUMBERS[question.kind], dns.IN)]
    if edns:
        options = dns.UnknownRecord(b"")
        message.additional = [dns.RRHeader(b"", dns.OPT, UDP_PAYLOAD, 0, options)]
    encoded: bytes = message.toStr()
    return encoded


def read_response(data: bytes, question: Question, query_id: int) -> Response | None:
    """
    The response to this query in `data`; None where it is damaged or belongs to another query.

    RFC 5452 9.1: the id and the question must be ours. The caller has checked where it came from.
    """
    if len(data) < _HEADER.size:
        return None
    received_id, flags, _, questions, answers, authority, _ = _HEADER.unpack_from(data)
    # QR must be set, and the opcode be QUERY.
    if received_id != query_id or flags & 0xF8 != 0x80:
        return None
    message = _decoded(data, questions, answers, authority)
    if message is None:
        return None
    if not message.queries and message.rCode in _RCODES:
        return Response(message.rCode)  # a server that can't read the query can't repeat it (RFC 6891 7)
    try:
        if [_asked(item) for item in message.queries] != [(question.name, _NUMBERS[question.kind], dns.IN)]:
            return None
        return _contents(message, question)
    except NameTooLongError:
        return None


def _decoded(data: bytes, questions: int, answers: int, authority: int) -> dns.Message | None:
    """
    The message without its additional section, which we have no use for, and with no more than `MAX_RECORDS` answers.

    The counts in the header are rewritten for that, so that the codec never looks at the rest.
    """
    if questions > 1:
        return None
    if answers > MAX_RECORDS:
        answers, authority = MAX_RECORDS, 0
    authority = min(authority, MAX_RECORDS)
    # A truncated response may end anywhere (RFC 2181 9); it is asked again by TCP and only its question matters.
    if data[2] & 0x02:
        answers = authority = 0
    message = dns.Message()
    try:
        counts = struct.pack("!HHHH", questions, answers, authority, 0)
        message.decode(_BoundedReads(data[:4] + counts + data[_HEADER.size :]))
    except Exception:  # the codec meets hostile bytes with whatever its parts raise: ValueError, struct.error, ...
        return None
    # It takes a message that ends too early for a shorter one.
    if (len(message.queries), len(message.answers), len(message.authority)) != (questions, answers, authority):
        return None
    return message


class _BoundedReads(BytesIO):
    """A response that may be read from `MAX_READS` times."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError("a response that takes too long to read")
        return super().read(size)


def _asked(item: dns.Query) -> tuple[str, int, int]:
    return _text(item.name), item.type, item.cls


def _contents(message: dns.Message, question: Question) -> Response:
    response = Response(
        rcode=message.rCode,
        truncated=bool(message.trunc),
        secure=bool(message.authenticData),
        negative_ttl=_negative_ttl(message.authority),
        is_referral=any(item.type == dns.NS for item in message.authority),
    )
    wanted = _NUMBERS[question.kind]
    for item in message.answers:
        if item.cls != dns.IN:
            continue
        owner, payload = _text(item.name), item.payload
        if item.type == wanted:
            response.records.setdefault(owner, []).append((_record(payload), _ttl(item.ttl)))
        elif isinstance(payload, dns.Record_CNAME):
            response.aliases.setdefault(owner, (_text(payload.name), _ttl(item.ttl)))
    return response


def _record(payload: object) -> Record:
    """The value of a record of one of the types in `_NUMBERS`."""
    match payload:
        case dns.Record_MX():
            return MX(payload.preference, _text(payload.name))
        case dns.Record_A():
            return str(payload.dottedQuad())
        case dns.Record_AAAA():
            return socket.inet_ntop(socket.AF_INET6, payload.address)
        case dns.Record_TXT():
            return b"".join(payload.data)  # RFC 7208 3.3: the strings of one record belong together, without a space
        case dns.Record_CNAME() | dns.Record_PTR():
            return _text(payload.name)
        case dns.UnknownRecord():
            return bytes(payload.data)
    raise TypeError(f"no value for {payload!r}")


def _text(name: dns.Name | None) -> str:
    """
    A name as lower-case text. Raises `NameTooLongError`.

    Odd octets are escaped: they come into no log, and whoever uses the name finds that it is no host name.
    """
    octets: bytes = name.name if name else b""
    if len(octets) > MAX_NAME:
        raise NameTooLongError
    return octets.decode("latin-1").encode("unicode_escape").decode("ascii").lower()


def _ttl(seconds: int) -> int:
    """RFC 2181 8: the top bit set means zero."""
    return 0 if seconds >= 1 << 31 else min(seconds, MAX_TTL)


def _negative_ttl(authority: list[dns.RRHeader]) -> int | None:
    """RFC 2308 5: the smaller of the SOA record's own TTL and its MINIMUM field."""
    for item in authority:
        if isinstance(item.payload, dns.Record_SOA):
            return min(_ttl(item.ttl), _ttl(item.payload.minimum))
    return None


def judge(response: Response, question: Question) -> Answer | Alias | Refusal:
    """What a response says to its question."""
    if response.rcode not in (dns.OK, dns.ENAME):
        name = _RCODES.get(response.rcode, f"RCODE {response.rcode}")
        return Refusal(f"the server failed ({name})", edns_trouble=response.rcode in (dns.EFORMAT, dns.ENOTIMP))
    seen = [question.name]
    ttl = MAX_TTL
    # RFC 1034 3.6.2: an alias is followed, unless the alias itself was asked for (then it stands in `records`).
    while (alias := response.aliases.get(seen[-1])) and seen[-1] not in response.records:
        target, alias_ttl = alias
        if target in seen or len(seen) > MAX_ALIASES:
            return could_not_ask(f"CNAME records of {question.name} make a loop or go on too long")
        seen.append(target)
        ttl = min(ttl, alias_ttl)
    name = seen[-1]
    records = response.records.get(name)
    if records:
        ttl = min(ttl, *(record_ttl for _, record_ttl in records))
        found = tuple(record for record, _ in records)
        return Answer(Status.ANSWER, found, ttl, response.secure, canonical=_canonical(question, name))
    return _negative(response, question, name, ttl)


def _canonical(question: Question, name: str) -> str:
    return "" if name == question.name else name


def _negative(response: Response, question: Question, name: str, ttl: int) -> Answer | Alias | Refusal:
    """A response without the records that were asked for; `name` is the end of the aliases, `ttl` the least of them."""
    # RFC 2308 5: without an SOA record, nothing says how long it holds, and it should not be remembered.
    ttl_left = min(ttl, response.negative_ttl or 0)
    if response.rcode == dns.ENAME:  # RFC 6604 3: it speaks of the end of the chain
        reason = f"{name} does not exist"
        return Answer(Status.NXDOMAIN, (), ttl_left, response.secure, reason, _canonical(question, name))
    if response.negative_ttl is None:
        if name != question.name:
            return Alias(name, ttl, response.secure)
        if response.is_referral:  # RFC 2308 2.2: a referral is no answer, and our servers must give one
            return Refusal("the server does not answer but refers to others (lame)")
    reason = f"{name} has no {question.kind} record"
    return Answer(Status.NODATA, (), ttl_left, response.secure, reason, _canonical(question, name))

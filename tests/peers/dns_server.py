"""
A stub DNS server on loopback, UDP and TCP on one port, that answers from a table and can be made to misbehave.

Owns: what an honest server answers from a table (aliases, NODATA, NXDOMAIN), and one fault a question.
Never: imports anything of `mta` or Twisted: dnspython is the second opinion on the wire format, and threads keep it
usable beside a blocking test as well as beside a reactor.

    with DNSServer({("example.test", "MX"): ["10 mx.example.test."]}) as server:
        ...  # ask 127.0.0.1, server.port
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset

SOA = "ns.test. hostmaster.test. 1 3600 600 86400 60"


class Fault(Enum):
    """What goes wrong with the answer to a question."""

    SERVFAIL = auto()
    REFUSED = auto()
    FORMERR = auto()  # with the header alone, as a server does that can't read the query
    NO_EDNS = auto()  # FORMERR to a query with EDNS, an answer to one without
    SILENCE = auto()
    TRUNCATED = auto()  # by UDP; whole by TCP
    TCP_CLOSED = auto()  # truncated by UDP, and TCP closes without an answer
    TRUNCATED_TCP = auto()  # truncated by both
    WRONG_ID = auto()
    WRONG_QUESTION = auto()
    NOT_A_RESPONSE = auto()  # without the QR flag
    FORGED_FIRST = auto()  # one with a wrong id comes before the true one
    GARBAGE = auto()
    CUT = auto()  # the message ends in the middle of its records
    LAME = auto()  # no records, but a referral
    NO_SOA = auto()  # a negative answer that does not say how long it holds
    ALIAS_ONLY = auto()  # the alias without what it leads to
    SECURE = auto()  # with the AD flag


@dataclass(frozen=True)
class Entry:
    """The records of one question, in presentation form (``10 mx.example.test.``), and what is wrong with them."""

    records: Sequence[str] = ()
    ttl: int = 300
    fault: Fault | None = None
    negative_ttl: int = 60


Zones = Mapping[tuple[str, str], Entry | Sequence[str] | Fault]


@dataclass
class DNSAnswers:
    """Answers wire messages from a table; no sockets. `asked` lists (name, kind, "udp" or "tcp")."""

    zones: Zones
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def entry(self, name: str, kind: str) -> Entry | None:
        given = self.zones.get((name, kind))
        if isinstance(given, Fault):
            return Entry(fault=given)
        return given if given is None or isinstance(given, Entry) else Entry(tuple(given))

    def answers(self, wire: bytes, by: str) -> list[bytes]:
        """The datagrams, or TCP messages, that answer a query: mostly one."""
        try:
            asked = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return []
        question = asked.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, by))
        entry = self.entry(name, kind) or Entry()
        response = dns.message.make_response(asked, recursion_available=True)
        response.flags &= ~dns.flags.AD
        self._fill(response, name, kind, entry)
        return self._spoiled(response, asked, entry.fault, by)

    def _fill(self, response: dns.message.Message, name: str, kind: str, entry: Entry) -> None:
        """What an honest server says."""
        followed: list[str] = []
        while not entry.records and kind != "CNAME" and name not in followed:
            alias = self.entry(name, "CNAME")
            if alias is None or not alias.records:
                break
            response.answer.append(dns.rrset.from_text(f"{name}.", alias.ttl, "IN", "CNAME", *alias.records))
            if alias.fault is Fault.ALIAS_ONLY:
                return
            followed.append(name)
            name = alias.records[0].rstrip(".").lower()
            entry = self.entry(name, kind) or Entry(fault=entry.fault, negative_ttl=entry.negative_ttl)
        if entry.records:
            response.answer.append(dns.rrset.from_text(f"{name}.", entry.ttl, "IN", kind, *entry.records))
        elif entry.fault is Fault.LAME:
            response.authority.append(dns.rrset.from_text(f"{name}.", 60, "IN", "NS", "ns.elsewhere.test."))
        elif name not in followed:
            exists = any(known == name or known.endswith(f".{name}") for known, _ in self.zones)
            response.set_rcode(dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN)
            if entry.fault is not Fault.NO_SOA:
                response.authority.append(dns.rrset.from_text("test.", entry.negative_ttl, "IN", "SOA", SOA))

    def _spoiled(
        self, response: dns.message.Message, asked: dns.message.Message, fault: Fault | None, by: str
    ) -> list[bytes]:
        """The response on the wire, with its fault."""
        rcodes = {
            Fault.SERVFAIL: dns.rcode.SERVFAIL,
            Fault.REFUSED: dns.rcode.REFUSED,
            Fault.FORMERR: dns.rcode.FORMERR,
        }
        if fault is Fault.SILENCE or (fault is Fault.TCP_CLOSED and by == "tcp"):
            return []
        if fault in rcodes or (fault is Fault.NO_EDNS and asked.edns >= 0):
            response.answer, response.authority = [], []
            response.set_rcode(rcodes.get(fault, dns.rcode.FORMERR) if fault else dns.rcode.FORMERR)
            if fault in (Fault.FORMERR, Fault.NO_EDNS):
                response.question = []
                response.use_edns(False)
        elif fault is Fault.TRUNCATED_TCP or (fault in (Fault.TRUNCATED, Fault.TCP_CLOSED) and by == "udp"):
            response.flags |= dns.flags.TC
            response.answer = []
        elif fault is Fault.WRONG_QUESTION:
            response.question = [dns.rrset.from_text("other.test.", 0, "IN", "MX")]
        elif fault is Fault.NOT_A_RESPONSE:
            response.flags &= ~dns.flags.QR
        elif fault is Fault.SECURE:
            response.flags |= dns.flags.AD
        wire = response.to_wire(max_size=65_535)
        if by == "udp" and len(wire) > max(512, asked.payload):
            response.flags |= dns.flags.TC
            response.answer = []
            wire = response.to_wire()
        forged = bytes([wire[0] ^ 0xFF]) + wire[1:]
        match fault:
            case Fault.WRONG_ID:
                return [forged]
            case Fault.FORGED_FIRST:
                return [forged, wire]
            case Fault.GARBAGE:
                return [wire[:12] + b"\xc0\x0c" * 20]
            case Fault.CUT:
                return [wire[: len(wire) - len(wire) // 3]]
        return [wire]


class DNSServer:
    """The sockets for `DNSAnswers`, each served by a thread. A context manager; `port` is the same for UDP and TCP."""

    host = "127.0.0.1"

    def __init__(self, zones: Zones, port: int = 0) -> None:
        self.table = DNSAnswers(zones)
        self._stream, self._datagram = _bound(self.table, self.host, port)
        self.port: int = self._datagram.server_address[1]
        servers = (self._stream, self._datagram)
        self._threads = [threading.Thread(target=each.serve_forever, args=(0.02,), daemon=True) for each in servers]

    @property
    def asked(self) -> list[tuple[str, str, str]]:
        """Every question so far: (name, kind, "udp" or "tcp")."""
        return list(self.table.asked)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        for server in (self._stream, self._datagram):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> DNSServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Stream(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _bound(table: DNSAnswers, host: str, port: int) -> tuple[_Stream, socketserver.UDPServer]:
    """A TCP and a UDP server on the same port; a port that is free for one of them may be taken for the other."""

    class DatagramRequest(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, replying = self.request
            for answer in table.answers(data, "udp"):
                replying.sendto(answer, self.client_address)

    class StreamRequest(socketserver.StreamRequestHandler):
        timeout = 5

        def handle(self) -> None:
            length = int.from_bytes(self.rfile.read(2))
            for answer in table.answers(self.rfile.read(length), "tcp"):
                self.wfile.write(len(answer).to_bytes(2) + answer)

    for _ in range(50):
        stream = _Stream((host, port), StreamRequest)
        try:
            return stream, socketserver.UDPServer((host, stream.server_address[1]), DatagramRequest)
        except OSError:
            stream.server_close()
            if port:
                raise
    raise OSError(f"no port is free for both UDP and TCP on {host}")


def free_port() -> int:
    """A UDP port of loopback that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((DNSServer.host, 0))
        number: int = probe.getsockname()[1]
    return number

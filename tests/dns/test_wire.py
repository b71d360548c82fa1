"""DNS messages, with dnspython as the second opinion on every byte."""

from __future__ import annotations

import struct

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fuzz.finding import bounded
from mta.dns.question import KINDS, Question
from mta.dns.wire import MAX_TTL, Alias, Refusal, Response, judge, query, read_response
from mta.lookup import MX, Answer, Status
from tests.peers.dns_server import SOA

ASKED = Question("example.test", "MX")


def response(*answer: str, authority: str = "", flags: str = "QR RD RA", rcode: str = "NOERROR") -> bytes:
    """A response to `ASKED` with id 7; records as "owner ttl type data"."""
    lines = ["id 7", "opcode QUERY", f"rcode {rcode}", f"flags {flags}", ";QUESTION", "example.test. IN MX", ";ANSWER"]
    lines += [f"{owner} {ttl} IN {rest}" for owner, ttl, rest in (line.split(" ", 2) for line in answer)]
    lines += [";AUTHORITY", authority] if authority else []
    message = dns.message.from_text("\n".join(lines))
    assert len(message.authority) == bool(authority)
    return message.to_wire(max_size=65_535)


def said(wire: bytes) -> Answer | Alias | Refusal:
    found = read_response(wire, ASKED, 7)
    assert found is not None
    return judge(found, ASKED)


class QueryTests(SynchronousTestCase):
    def test_by_another_reader(self) -> None:
        """RFC 6840 5.7, RFC 6891: recursion desired, AD set, EDNS with room for 1232 octets, one question."""
        for kind in KINDS:
            message = dns.message.from_wire(query(Question("_25._tcp.mx.test", kind), 0xABCD))
            self.assertEqual((message.id, message.edns, message.payload), (0xABCD, 0, 1232))
            self.assertEqual(message.flags, dns.flags.RD | dns.flags.AD)
            self.assertEqual(message.question, [dns.rrset.from_text("_25._tcp.mx.test.", 0, "IN", kind)])

    def test_without_edns(self) -> None:
        """RFC 6891 7: plain DNS for a server that dislikes EDNS."""
        self.assertEqual(dns.message.from_wire(query(ASKED, 1, edns=False)).edns, -1)

    def test_longest_name(self) -> None:
        """RFC 1035 2.3.4: labels of 63 octets and names of 255 are asked for as they are."""
        name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
        message = dns.message.from_wire(query(Question(name, "A"), 1))
        self.assertEqual(message.question[0].name.to_text(), name + ".")


class ReadTests(SynchronousTestCase):
    def test_only_the_answer_to_the_query(self) -> None:
        """RFC 5452 9.1: another id, another question, a query, another opcode: none of them is our answer."""
        good = response("example.test. 60 MX 10 mx.test.")
        self.assertIsNotNone(read_response(good, ASKED, 7))
        self.assertIsNone(read_response(good, ASKED, 8))
        for asked in (Question("example.test", "A"), Question("example.tes", "MX"), Question("xample.test", "MX")):
            self.assertIsNone(read_response(good, asked, 7))
        for bits in (0x00, 0x90, 0xF8):
            self.assertIsNone(read_response(good[:2] + bytes([bits]) + good[3:], ASKED, 7))
        self.assertIsNone(read_response(b"", ASKED, 0))
        self.assertIsNone(read_response(good[:5] + b"\0" + good[6:], ASKED, 7), "a good answer without its question")
        self.assertIsNone(read_response(good[:5] + b"\2" + good[6:], ASKED, 7), "two questions")

    def test_case_of_the_question(self) -> None:
        """RFC 4343: names are the same in any case."""
        wire = response("EXAMPLE.test. 60 MX 10 MX.Test.").replace(b"\x07example", b"\x07ExAmPlE", 1)
        self.assertEqual(said(wire), Answer(Status.ANSWER, (MX(10, "mx.test"),), 60))

    def test_every_cut(self) -> None:
        """A response that ends too early is damaged, not a shorter answer (a lost MX would be a wrong route)."""
        two = response("example.test. 60 MX 10 a.test.", "example.test. 60 MX 20 b.test.")
        negative = response(rcode="NXDOMAIN", authority=f"test. 50 IN SOA {SOA}")
        for wire in (two, negative):
            for end in range(len(wire)):
                self.assertIsNone(read_response(wire[:end], ASKED, 7), end)

    def test_truncated(self) -> None:
        """RFC 2181 9: of a truncated response nothing is used but the flag."""
        wire = response("example.test. 60 MX 10 a.test.", flags="QR TC RD RA")
        self.assertEqual(read_response(wire[:-4], ASKED, 7), Response(0, truncated=True))

    def test_failure_without_question(self) -> None:
        """RFC 6891 7: a server that can't read the query says FORMERR and repeats no question."""
        found = read_response(b"\x00\x07\x80\x81" + b"\0" * 8, ASKED, 7)
        assert found is not None
        self.assertEqual(judge(found, ASKED), Refusal("the server failed (FORMERR)", edns_trouble=True))

    def test_many_records(self) -> None:
        """Only the first hundred records are read."""
        wire = response(*(f"example.test. 60 MX {number} mx{number}.test." for number in range(2000)))
        found = said(wire)
        assert isinstance(found, Answer)
        self.assertEqual(len(set(found.records)), 100)

    def test_name_that_is_too_long(self) -> None:
        """RFC 1035 2.3.4: a name that is longer than 255 octets is damage, whatever record it stands in."""
        head = response()
        for labels, is_read in ((3, True), (4, False)):
            name = (b"\x3f" + b"x" * 63) * labels + b"\0"
            record = b"\xc0\x0c\0\x0f\0\1" + struct.pack("!IHH", 60, 2 + len(name), 10) + name
            found = read_response(head[:6] + b"\0\1" + head[8:] + record, ASKED, 7)
            self.assertEqual(is_read, found is not None, labels)

    def test_work_is_bounded(self) -> None:
        """A name of thousands of labels that every record points to is not read again and again."""
        head = response()
        start = len(head) + 12
        pool = b"\1a" * 30_000 + b"\0"
        name = struct.pack("!H", 0xC000 | start)
        wire = head[:6] + b"\0\x64" + head[8:] + b"\xc0\x0c\0\x63\0\1" + struct.pack("!IH", 60, len(pool)) + pool
        wire += (name + b"\0\x0f\0\1" + struct.pack("!IHH", 60, 4, 10) + name) * 99
        with bounded(1):  # without the bound it takes 8 s
            self.assertIsNone(read_response(wire, ASKED, 7))

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.data())
    def test_garbage(self, data: st.DataObject) -> None:
        """No bytes raise, be they noise or a response with a few octets changed."""
        wire = bytearray(
            response(
                "example.test. 60 CNAME w.test.", "w.test. 60 MX 10 mx.w.test.", authority=f"test. 60 IN SOA {SOA}"
            )
        )
        for _ in range(data.draw(st.integers(1, 4))):
            wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
        tail = data.draw(st.binary(max_size=40))
        for hostile in (bytes(wire), bytes(wire[:12]) + tail, bytes(wire) + tail, tail):
            found = read_response(hostile, ASKED, 7)
            if found is not None:
                self.assertIsInstance(judge(found, ASKED), Answer | Alias | Refusal)


class JudgeTests(SynchronousTestCase):
    def test_answer(self) -> None:
        """The records, the least TTL of them, and the AD flag."""
        wire = response("example.test. 60 MX 10 a.test.", "example.test. 30 MX 0 .", flags="QR RD RA AD")
        found = said(wire)
        assert isinstance(found, Answer)
        self.assertEqual((found.status, found.ttl, found.secure), (Status.ANSWER, 30, True))
        self.assertEqual(set(found.records), {MX(10, "a.test"), MX(0, "")})

    def test_aliases(self) -> None:
        """RFC 1034 3.6.2: aliases in the answer are followed, in any order, and the least TTL holds for all."""
        wire = response("b.test. 20 MX 10 mx.test.", "a.test. 10 CNAME b.test.", "example.test. 30 CNAME a.test.")
        self.assertEqual(said(wire), Answer(Status.ANSWER, (MX(10, "mx.test"),), 10, canonical="b.test"))

    def test_alias_that_leaves(self) -> None:
        """An alias to a name that the answer does not speak of has to be asked for."""
        self.assertEqual(said(response("example.test. 30 CNAME a.test.")), Alias("a.test", 30, secure=False))

    def test_alias_without_end(self) -> None:
        """A loop, or a chain of more than ten, can't be asked; nobody's mail bounces for it."""
        chain = [f"n{number}.test. 60 CNAME n{number + 1}.test." for number in range(12)]
        for wire in (
            response("example.test. 60 CNAME example.test."),
            response("example.test. 60 CNAME a.test.", "a.test. 60 CNAME example.test."),
            response("example.test. 60 CNAME n0.test.", *chain),
        ):
            found = said(wire)
            assert isinstance(found, Answer)
            self.assertIs(found.status, Status.COULD_NOT_ASK)

    def test_negative(self) -> None:
        """RFC 2308 2 and 5: NXDOMAIN and NODATA hold for the SOA's TTL or its MINIMUM, whichever is less."""
        soa = f"IN SOA {SOA.replace(' 60', ' 20')}"
        nodata, nxdomain = Status.NODATA, Status.NXDOMAIN
        alias = "example.test. 5 CNAME a.test."
        table = [
            (response(rcode="NXDOMAIN", authority=f"test. 50 {soa}"), nxdomain, 20),
            (response(rcode="NXDOMAIN", authority=f"test. 10 {soa}"), nxdomain, 10),
            (response(rcode="NXDOMAIN"), nxdomain, 0),
            (response(authority=f"test. 50 {soa}"), nodata, 20),
            (response(), nodata, 0),
            # RFC 6604 3: the code is that of the last name; RFC 2308 2.1, 2.2: so is the negative answer.
            (response(alias, rcode="NXDOMAIN", authority=f"test. 50 {soa}"), nxdomain, 5),
            (response(alias, authority=f"test. 50 {soa}"), nodata, 5),
        ]
        for wire, status, ttl in table:
            found = said(wire)
            assert isinstance(found, Answer)
            self.assertEqual((found.status, found.ttl), (status, ttl), wire)
            self.assertTrue(found.reason)

    def test_refusals(self) -> None:
        """SERVFAIL, REFUSED, a referral: another server may know better."""
        for rcode in ("SERVFAIL", "REFUSED", "NOTIMP", "FORMERR", "YXDOMAIN"):
            self.assertIsInstance(said(response(rcode=rcode)), Refusal, rcode)
        self.assertIsInstance(said(response(authority="test. 60 IN NS ns.elsewhere.test.")), Refusal)

    def test_ttl(self) -> None:
        """RFC 2181 8: a TTL with the top bit is zero; no TTL is believed for more than a day."""
        wire = response("example.test. 2147483647 MX 10 a.test.")
        self.assertEqual(said(wire), Answer(Status.ANSWER, (MX(10, "a.test"),), MAX_TTL))
        self.assertEqual(
            said(wire.replace(b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00")), Answer(Status.ANSWER, (MX(10, "a.test"),), 0)
        )

    def test_other_records(self) -> None:
        """Records of another name, type or class are not our answer."""
        wire = response("other.test. 60 MX 10 mx.test.", "example.test. 60 A 192.0.2.1")
        found = said(wire)
        assert isinstance(found, Answer)
        self.assertIs(found.status, Status.NODATA)
        chaos = response("example.test. 60 MX 10 mx.test.").replace(b"\x00\x0f\x00\x01\x00", b"\x00\x0f\x00\x03\x00")
        self.assertIsNot(getattr(said(chaos), "status", None), Status.ANSWER)

    def test_odd_names(self) -> None:
        """Octets that no host name has come out escaped: text that no parser of host names takes."""
        wire = response(r"example.test. 60 MX 10 a\255\010b.test.")
        found = said(wire)
        assert isinstance(found, Answer)
        self.assertEqual(found.records, (MX(10, "a\\xff\\nb.test"),))

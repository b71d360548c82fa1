"""
Any bytes from a name server: they are no response, or mean one thing; damaged ones are no shorter answer.

What is read from them is bounded, in time as well: a name is at most 255 octets, whatever compression makes of it.
"""

from __future__ import annotations

from fuzz.input import options, text
from mta.dns.question import Question
from mta.dns.wire import MAX_RECORDS, MAX_TTL, Alias, Refusal, judge, query, read_response
from mta.lookup import Answer

KINDS = ("MX", "A", "AAAA", "CNAME", "TXT", "PTR", "TLSA")
NAME = "a.test"

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"\xc0\x0c",
    b"\x00\x0f\x00\x01",
    b"\x00\x01\x00\x01",
    b"\x00\x05\x00\x01",
    b"\x00\x06\x00\x01",
    b"\x00\x10\x00\x01",
    b"\x00\x1c\x00\x01",
    b"\x00\x02\x00\x01",
    b"\x00\x0c\x00\x01",
    b"\x004\x00\x01",
    b"\x00\x00\x00<\x00\x04",
    b"\x00\x00\x00<\x00\x02\xc0\x0c",
    b"\x00\x00\x00<\x00\x05\x00\n\x01b\x00",
    b"\x01a\x04test\x00",
)


def target(data: bytes) -> None:
    """The first octet chooses the type asked for; the rest is the response, with or without our question in front."""
    chosen, data = options(data)
    question = Question(NAME, KINDS[chosen % len(KINDS)])
    wire = text(data)[:65_535]
    if chosen & 0x80:  # behind a header with these counts and our question
        ours = query(question, 7, edns=False)
        wire = ours[:2] + b"\x81" + wire[:1] + b"\0\1" + wire[1:5] + b"\0\0" + ours[12:] + wire[5:]
    response = read_response(wire, question, 7)
    if response is None:
        return
    count = sum(map(len, response.records.values())) + len(response.aliases)
    assert count <= MAX_RECORDS, count
    names = [*response.records, *response.aliases, *(alias for alias, _ in response.aliases.values())]
    assert all(name.isascii() for name in names)
    # An octet may take four characters to write (\x00).
    assert all(len(name) <= 4 * 255 for name in names), max(map(len, names))
    meaning = judge(response, question)
    assert isinstance(meaning, Answer | Alias | Refusal)
    if not isinstance(meaning, Refusal):
        assert 0 <= meaning.ttl <= MAX_TTL
    if not response.truncated and isinstance(meaning, Answer) and meaning.records:
        # The same with an octet missing at the end is damage, unless the octet stood behind what is read.
        shorter = read_response(wire[:-1], question, 7)
        assert shorter is None or shorter == response, (response, shorter)

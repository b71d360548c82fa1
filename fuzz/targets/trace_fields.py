"""
Fields that we write with words of a peer in them: each stays one field, of lines that no server refuses.
"""

from __future__ import annotations

from fuzz.input import options, text
from mta.address import Address
from mta.message.folding import MAX_LINE, header_fields, unstructured
from mta.message.headers import field, header_block
from mta.message.trace import received, return_path

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"\xff",
    b"\r\n",
    b"\n",
    b"                                                                                ",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"\xc3\xa9",
    b"\xe2\x80\xa8",
    b"\xed\xa0\x80",
    b"192.0.2.1",
    b"::1%eth0",
    b")",
    b"\\",
    b'"',
)


def _is_one_field(octets: bytes, name: bytes) -> None:
    assert octets.endswith(b"\r\n"), octets
    first, *others = octets[:-2].split(b"\r\n")
    assert first.startswith(name + b": "), octets
    for line in (first, *others):
        assert b"\r" not in line, octets
        assert b"\n" not in line, octets
        assert len(line) <= MAX_LINE, octets
        assert line.strip(b" \t"), octets
    assert all(line[:1] in b" \t" for line in others), octets
    assert header_block(octets) == octets, octets


def target(data: bytes) -> None:
    """The first octet is the number of options, the rest words, separated by 0xff."""
    chosen, data = options(data)
    words = [word.decode("utf-8", "surrogateescape") for word in text(data).split(b"\xff", 6)]
    words += [""] * (7 - len(words))
    local, domain, *others = words
    address = Address(local[:64], domain[:255])
    _is_one_field(
        received(
            helo=others[0],
            client_ip=others[1],
            client_name=others[2] if chosen & 1 else None,
            by=others[3],
            protocol=others[4],
            queue_id="0123456789ABC",
            recipient=address if chosen & 2 else None,
            at=float(chosen << 24),
        ),
        b"Received",
    )
    _is_one_field(return_path(address), b"Return-Path")
    subject = unstructured(words[0])
    for value in (*words, subject):
        for utf8 in (False, True):
            written = header_fields([("Subject", value)], utf8=utf8)
            _is_one_field(written.replace(b"Subject:\r\n", b"Subject: x\r\n"), b"Subject")
            assert field(written, b"subject") is not None
